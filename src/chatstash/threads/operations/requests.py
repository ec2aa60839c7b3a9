"""The requests of threads: writes with their expiry, and reads of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from chatstash.errors import Applied, DatabaseError, ReadOnlyToken, RequestTooLarge, WrongType
from chatstash.rest.commands import Argument, Batch, Command, Effect, Reply
from chatstash.rest.ops import Op, send
from chatstash.threads.layout import ThreadKeys
from chatstash.threads.scripts.loading import COUNT_INDEX, call
from chatstash.threads.threads import Threads

FIELDS_PER_READ = 2000


def write(threads: Threads, keys: ThreadKeys, *commands: Command, more: Sequence[Command] = ()) -> Op[list[Reply]]:
    """Write to a thread in one transaction, which restarts the ttl if there is one. Returns all replies.

    Args:
        threads: Says the ttl.
        keys: The thread.
        commands: Commands on the thread's keys; sending them twice must have the same result.
        more: Commands on other keys.
    """
    touched = [key for key in keys.both if any(command[1] == key for command in commands)]
    expiry: list[Command] = [] if threads.ttl is None else [("EXPIRE", key, threads.ttl) for key in touched]
    batch = (*commands, *expiry, *more)
    replies = yield from send(Batch(batch, atomic=len(batch) > 1, effect=Effect.IDEMPOTENT))
    for command, reply in zip(batch, replies.values, strict=True):
        if isinstance(reply, DatabaseError):
            raise _refused(reply, command, applied=len(batch) > 1)
    return list(replies.values)


def _refused(error: DatabaseError, command: Command, *, applied: bool) -> DatabaseError:
    if applied:
        error.applied = Applied.PARTIALLY
    if isinstance(error, WrongType):
        error.problem = f"The key {command[1]!r} holds a value that is not part of a thread. Use another key_prefix"
        error.key = str(command[1])
    return error


def read_range(key: str, *arguments: Argument) -> Op[list[str]]:
    """Return a range of a sorted set, given what ZRANGE takes after the key; one request, two commands."""
    answer = yield from read_from_leader(call("read_range", (key,), *arguments))
    members = answer[1] if len(answer) > 1 else []
    return [member.decode() for member in members if isinstance(member, bytes)] if isinstance(members, list) else []


def read_from_leader(script: Command, *more: Command) -> Op[list[Reply]]:
    """Return the answer of a script that only reads, run by EVAL: a replica may answer EVAL_RO, and may lag.

    A token that may only read gets EVAL_RO after all.
    """
    effect = Effect.IDEMPOTENT if more else Effect.READ
    try:
        return (yield from run_script(("EVAL", *script[1:]), *more, effect=effect))
    except ReadOnlyToken:
        return (yield from run_script(script, *more, effect=effect))


def run_script(script: Command, *more: Command, effect: Effect = Effect.IDEMPOTENT) -> Op[list[Reply]]:
    """Run a script that answers a list, and further commands in the same request; returns the script's answer."""
    replies = yield from send(Batch((script, *more), effect=effect, command_count_index=COUNT_INDEX))
    for reply in replies.values:
        if isinstance(reply, DatabaseError):
            raise reply
    answer = replies.values[0]
    return answer if isinstance(answer, list) else []


def expire_on_read(threads: Threads, keys: ThreadKeys) -> tuple[Command, ...]:
    """Return the commands that restart the ttl of a thread that is read, or none."""
    if threads.ttl is None or not threads.refresh_ttl_on_read:
        return ()
    return (("EXPIRE", keys.data, threads.ttl), ("EXPIRE", keys.names, threads.ttl))


def read_fields(keys: ThreadKeys, fields: Sequence[str]) -> Op[dict[str, bytes]]:
    """Return the fields of a thread that exist; one request for 2,000, more if the reply would be too large."""
    found: dict[str, bytes] = {}
    for at in range(0, len(fields), FIELDS_PER_READ):
        found.update((yield from _read_fields(keys, fields[at : at + FIELDS_PER_READ])))
    return found


def _read_fields(keys: ThreadKeys, fields: Sequence[str]) -> Op[dict[str, bytes]]:
    try:
        replies = yield from send(Batch((("HMGET", keys.data, *fields),)))
    except RequestTooLarge:
        if len(fields) == 1:
            raise
        half = len(fields) // 2
        first = yield from _read_fields(keys, fields[:half])
        return first | (yield from _read_fields(keys, fields[half:]))
    values = replies.values[0]
    if isinstance(values, DatabaseError):
        raise values
    found = zip(fields, values if isinstance(values, list) else [], strict=True)
    return {field: value for field, value in found if isinstance(value, bytes)}


def flat(fields: Mapping[str, str]) -> list[str]:
    """Return fields as HSET takes them."""
    return [part for pair in fields.items() for part in pair]


def scored(members: Iterable[str]) -> list[str | int]:
    """Return members as ZADD takes them; all have score 0."""
    return [part for member in members for part in (0, member)]


def batches_of(fields: Mapping[str, str], most: int) -> Iterator[dict[str, str]]:
    """Return fields in batches of about `most` bytes; the last, which may be empty, has room for as much again."""
    batch: dict[str, str] = {}
    size = 0
    for field, text in fields.items():
        if batch and size + len(text) > most:
            yield batch
            batch, size = {}, 0
        batch[field] = text
        size += len(text) + len(field)
    yield batch
