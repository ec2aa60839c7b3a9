"""Runs gets, searches, listings and puts in one request.

Reads see the state before the writes of the same batch. A search over further namespaces, items whose ttl restarts
because they were read, and namespaces that turn out to be empty take more requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from chatstash.errors import Applied, DatabaseError, ReadOnlyToken, RequestTooLarge, WrongType
from chatstash.frozen import dataclass
from chatstash.namespaces.items import StoredItem, in_order, items_in, loaded
from chatstash.namespaces.layout import Namespaces, created_field, is_below, labels_of, range_below, value_field
from chatstash.namespaces.scripts.loading import call
from chatstash.rest.commands import Batch, Command, Effect, Reply
from chatstash.rest.ops import Op, send

NAMESPACES_PER_READ = 100
FIELDS_PER_SCAN = 500


class Get(NamedTuple):
    """Read an item; `refreshes` says whether that restarts its ttl."""

    namespace: str
    key: str
    refreshes: bool


@dataclass(frozen=True)
class Search:
    """Read the items of a namespace and of those below it.

    Attributes:
        prefix: The namespace; empty for all.
        matches: Tells whether an item is wanted.
        limit: How many items to return.
        offset: How many to leave out before.
        refreshes: Whether that restarts the ttl of the items returned.
    """

    prefix: str
    matches: Callable[[StoredItem], bool]
    limit: int
    offset: int
    refreshes: bool


class ListNamespaces(NamedTuple):
    """List the namespaces below one, the empty one for all, that `wanted` selects, in order."""

    prefix: str
    wanted: Callable[[Sequence[str]], Iterator[tuple[str, list[str]]]]
    limit: int
    offset: int


class Put(NamedTuple):
    """Store an item, or delete it if `text` is None.

    Attributes:
        namespace: The namespace.
        key: The item's key.
        text: The item's text.
        created_at: When it was created if it is new, in microseconds since the epoch.
        ttl: Milliseconds for which it lives; None for ever.
    """

    namespace: str
    key: str
    text: str | None
    created_at: int
    ttl: int | None


Read = Get | Search | ListNamespaces
Result = StoredItem | None | list[StoredItem] | list[str]


class _Outcome(NamedTuple):
    """What a batch has found so far.

    Attributes:
        results: The results of reads.
        refreshed: The items whose ttl restarts.
        empty: Namespaces that seem empty.
        earlier: What items of this batch's puts were before, by namespace and key, for searches that read them after.
    """

    results: list[Result]
    refreshed: list[StoredItem]
    empty: set[str]
    earlier: dict[str, dict[str, StoredItem | None]]


def run_batch(namespaces: Namespaces, reads: Sequence[Read], puts: Sequence[Put]) -> Op[list[Result]]:
    """Run reads and puts, and return the results of the reads; one request.

    A get takes one command, a search three, a listing three and one for each namespace, a put three, six with a ttl, a
    deletion three or five. Puts over the size of a request take more requests.
    """
    earlier = [Get(put.namespace, put.key, refreshes=False) for put in puts if _is_searched(put, reads)]
    commands = [_reading(namespaces, read) for read in (*earlier, *reads)]
    first, *others = _in_requests(namespaces, puts)
    replies = iter((yield from _send([command for own in commands for command in own], first)))
    answers = [list(islice(replies, len(own))) for own in commands]
    for more in others:
        yield from _send([], more)
    outcome = _Outcome([], [], set(), {})
    for get, answer in zip(earlier, answers, strict=False):
        outcome.earlier.setdefault(get.namespace, {})[get.key] = _got(get, answer[0])
    for read, answer in zip(reads, answers[len(earlier) :], strict=True):
        outcome.results.append((yield from _result(namespaces, read, answer, outcome)))
    yield from _follow_up(namespaces, outcome)
    return outcome.results


def _is_searched(put: Put, reads: Sequence[Read]) -> bool:
    """Tell whether a search reads the namespace of a put with a second request, after the put."""
    return any(isinstance(read, Search) and is_below(put.namespace, read.prefix) for read in reads)


def _reading(namespaces: Namespaces, read: Read) -> list[Command]:
    if isinstance(read, Get):
        fields = (value_field(read.key), created_field(read.key))
        return [("HMGET", namespaces.hash_of(read.namespace), *fields)]
    own = namespaces.hash_of(read.prefix)
    names: list[Command] = [("ZRANGE", key, *range_below(read.prefix), "BYLEX") for key in namespaces.indexes]
    return [*names, ("HGETALL" if isinstance(read, Search) else "HRANDFIELD", own)]


def _in_requests(namespaces: Namespaces, puts: Sequence[Put]) -> list[list[Command]]:
    """Return the commands of puts, in as many requests as their size needs; at least one, perhaps empty."""
    requests: list[list[Command]] = [[]]
    size = 0
    for put in puts:
        own = len(put.text or "")
        if size and size + own > namespaces.max_request_bytes // 2:
            requests.append([])
            size = 0
        requests[-1] += _writing(namespaces, put)
        size += own
    return requests


def _writing(namespaces: Namespaces, put: Put) -> list[Command]:
    key, value, created = namespaces.hash_of(put.namespace), value_field(put.key), created_field(put.key)
    if put.text is None:
        return [("HDEL", key, value, created), _forgetting(namespaces, put.namespace)]
    commands: list[Command] = [("HSETNX", key, created, put.created_at), ("HSET", key, value, put.text)]
    lasting, expiring = namespaces.indexes
    if put.ttl is None:
        return [*commands, ("ZADD", lasting, 0, put.namespace)]
    noting: list[Command] = [("ZADD", expiring, 0, put.namespace), ("PEXPIRE", expiring, put.ttl, "NX")]
    return [*commands, *noting, *_restarting(namespaces, put.namespace, put.key, put.ttl)]


def _restarting(namespaces: Namespaces, namespace: str, item: str, ttl: int) -> list[Command]:
    """Return the commands that restart the ttl of an item. The index lives as long as the last item."""
    fields = (value_field(item), created_field(item))
    return [
        ("HPEXPIRE", namespaces.hash_of(namespace), ttl, "FIELDS", 2, *fields),
        ("PEXPIRE", namespaces.indexes[1], ttl, "GT"),
    ]


def _forgetting(namespaces: Namespaces, namespace: str) -> Command:
    return call("forget_empty", (namespaces.hash_of(namespace), *namespaces.indexes), namespace)


def _send(reads: Sequence[Command], writes: Sequence[Command]) -> Op[list[Reply]]:
    if not reads and not writes:
        return []
    effect = Effect.IDEMPOTENT if writes else Effect.READ
    commands = (*reads, *writes)
    try:
        replies = yield from send(Batch(commands, effect=effect))
    except RequestTooLarge:
        if writes or len(reads) == 1:
            raise
        return (yield from _one_by_one(reads))
    for command, reply in zip(commands, replies.values, strict=True):
        if isinstance(reply, DatabaseError) and not (command in reads and isinstance(reply, RequestTooLarge)):
            raise _refused(reply, command, partly=len(commands) > 1)
    return list(replies.values)


def _one_by_one(reads: Sequence[Command]) -> Op[list[Reply]]:
    """Return the replies to reads that are too large together; for one that is too large by itself, the error."""
    found: list[Reply] = []
    for command in reads:
        try:
            replies = yield from send(Batch((command,)))
        except RequestTooLarge as error:
            found.append(error)
        else:
            found += replies.values
    return found


def _refused(error: DatabaseError, command: Command, *, partly: bool) -> DatabaseError:
    if partly:
        error.applied = Applied.PARTIALLY
    if isinstance(error, WrongType):
        error.problem = f"The key {command[1]!r} holds a value that is not a namespace. Use another key_prefix"
        error.key = str(command[1])
    return error


def _result(namespaces: Namespaces, read: Read, replies: list[Reply], outcome: _Outcome) -> Op[Result]:
    if isinstance(read, Get):
        item = _got(read, replies[0])
        outcome.refreshed.extend([item] if item is not None and read.refreshes else [])
        return item
    if isinstance(read, Search):
        found = yield from _found(namespaces, read, replies, outcome)
        outcome.refreshed.extend(found if read.refreshes else [])
        return found
    return (yield from _listed(namespaces, read, replies, outcome))


def _got(read: Get, reply: Reply) -> StoredItem | None:
    if isinstance(reply, DatabaseError):
        raise reply
    text, created = reply if isinstance(reply, list) else (None, None)
    if not isinstance(text, bytes):
        return None
    return loaded(read.namespace, read.key, text, created if isinstance(created, bytes) else None)


def _found(namespaces: Namespaces, read: Search, replies: list[Reply], outcome: _Outcome) -> Op[list[StoredItem]]:
    """Return the items of a search. The namespaces are read in order until there are enough items."""
    found: list[StoredItem] = []
    wanted = read.offset + read.limit
    own = yield from _fields_of(namespaces, read.prefix, replies[2])
    found += filter(read.matches, in_order(items_in(read.prefix, own)))
    below = _below(replies)
    for at in range(0, len(below), NAMESPACES_PER_READ):
        if len(found) >= wanted:
            break
        some = below[at : at + NAMESPACES_PER_READ]
        for namespace, fields in (yield from _read_all(namespaces, some)).items():
            outcome.empty.update(() if fields else (namespace,))
            items = {item.key: item for item in items_in(namespace, fields)} | outcome.earlier.get(namespace, {})
            found += filter(read.matches, in_order(item for item in items.values() if item is not None))
    return found[read.offset : wanted]


def _read_all(namespaces: Namespaces, names: Sequence[str]) -> Op[dict[str, dict[str, bytes]]]:
    """Return the fields of namespaces, in one request if the replies fit it."""
    try:
        replies = yield from send(Batch(tuple(("HGETALL", namespaces.hash_of(name)) for name in names)))
    except RequestTooLarge as error:
        if len(names) == 1:
            return {names[0]: (yield from _fields_of(namespaces, names[0], error))}
        half = len(names) // 2
        first = yield from _read_all(namespaces, names[:half])
        return first | (yield from _read_all(namespaces, names[half:]))
    found = {}
    for name, reply in zip(names, replies.values, strict=True):
        found[name] = yield from _fields_of(namespaces, name, reply)
    return found


def _fields_of(namespaces: Namespaces, namespace: str, reply: Reply) -> Op[dict[str, bytes]]:
    """Return the fields of a hash, given the reply to HGETALL; reads it in pages if that is too large."""
    if isinstance(reply, RequestTooLarge):
        return (yield from _scanned(namespaces.hash_of(namespace)))
    if isinstance(reply, DatabaseError):
        raise reply
    return _pairs(reply)


def _scanned(key: str) -> Op[dict[str, bytes]]:
    fields: dict[str, bytes] = {}
    cursor, count = "0", FIELDS_PER_SCAN
    while True:
        try:
            replies = yield from send(Batch((("HSCAN", key, cursor, "COUNT", count),)))
        except RequestTooLarge:
            if count == 1:
                raise
            count = max(1, count // 8)
            continue
        reply = replies.values[0]
        if isinstance(reply, DatabaseError):
            raise reply
        position, some = reply if isinstance(reply, list) else (b"0", [])
        fields |= _pairs(some)
        cursor = position.decode() if isinstance(position, bytes) else "0"
        if cursor == "0":
            return fields


def _listed(namespaces: Namespaces, read: ListNamespaces, replies: list[Reply], outcome: _Outcome) -> Op[list[str]]:
    """Return the names that a listing selects; checks that one of the namespaces behind each has items."""
    names = [read.prefix, *_below(replies)] if replies[2] is not None else _below(replies)
    found: list[str] = []
    wanted = read.offset + read.limit
    candidates = list(read.wanted(names))
    for at in range(0, len(candidates), NAMESPACES_PER_READ):
        if len(found) >= wanted:
            break
        some = candidates[at : at + NAMESPACES_PER_READ]
        existing = yield from _existing(namespaces, [name for _, behind in some for name in behind], outcome)
        found += [name for name, behind in some if existing.intersection(behind)]
    return found[read.offset : wanted]


def _existing(namespaces: Namespaces, names: Sequence[str], outcome: _Outcome) -> Op[set[str]]:
    existing: set[str] = set()
    for at in range(0, len(names), NAMESPACES_PER_READ):
        some = names[at : at + NAMESPACES_PER_READ]
        replies = yield from send(Batch(tuple(("HRANDFIELD", namespaces.hash_of(name)) for name in some)))
        existing.update(name for name, reply in zip(some, replies.values, strict=True) if reply is not None)
        outcome.empty.update(set(some) - existing)
    return existing


def _follow_up(namespaces: Namespaces, outcome: _Outcome) -> Op[None]:
    """Restart the ttl of items that were read, and forget empty namespaces, unless the token may only read."""
    commands = [
        command
        for item in outcome.refreshed
        if item.ttl is not None
        for command in _restarting(namespaces, item.namespace, item.key, item.ttl)
    ]
    commands += [_forgetting(namespaces, name) for name in sorted(outcome.empty)]
    if commands:
        try:
            yield from send(Batch(tuple(commands), effect=Effect.IDEMPOTENT))
        except ReadOnlyToken:
            return


def _below(replies: Sequence[Reply]) -> list[str]:
    """Return the namespaces that the indexes list, in order."""
    return sorted({*_texts(replies[0]), *_texts(replies[1])}, key=labels_of)


def _texts(reply: Reply) -> list[str]:
    if isinstance(reply, DatabaseError):
        raise reply
    return [value.decode() for value in reply if isinstance(value, bytes)] if isinstance(reply, list) else []


def _pairs(reply: Reply) -> dict[str, bytes]:
    flat = [value for value in reply if isinstance(value, bytes)] if isinstance(reply, list) else []
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
