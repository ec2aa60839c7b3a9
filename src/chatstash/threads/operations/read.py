"""Reads checkpoints with their writes and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from chatstash.errors import CorruptCheckpoint
from chatstash.frozen import dataclass
from chatstash.rest.commands import Command, Reply
from chatstash.rest.ops import Op
from chatstash.threads.header import CheckpointText, WritesText, loaded_checkpoint, loaded_writes
from chatstash.threads.layout import AFTER, CheckpointName, Place, ThreadKeys, WritesName, escaped, parsed
from chatstash.threads.manifest import Manifest, fields_of, is_page, loaded, page_field, refs_of
from chatstash.threads.operations.names import Named, named
from chatstash.threads.operations.requests import expire_on_read, read_fields, read_from_leader
from chatstash.threads.scripts.loading import call
from chatstash.threads.threads import Threads


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint as it is stored.

    Attributes:
        name: Its name.
        text: Its header and texts.
        writes: The writes of its tasks.
        manifests: The groups of each channel that has a value.
        groups: The text of each group, by reference. It may have those of other checkpoints, too.
    """

    name: CheckpointName
    text: CheckpointText
    writes: Sequence[tuple[WritesName, WritesText]]
    manifests: Mapping[str, Manifest]
    groups: Mapping[str, str]


class StoredHeader(NamedTuple):
    """A checkpoint as it is stored, with the writes of its tasks, but without its values."""

    name: CheckpointName
    text: CheckpointText
    writes: Sequence[tuple[WritesName, WritesText]]


class Range:
    """The members of a namespace, or of one checkpoint, as ZRANGE BYLEX takes them."""

    @staticmethod
    def of_namespace(namespace: str, before: str | None = None) -> tuple[str, str]:
        """Return end and start of a namespace, or of its checkpoints with smaller ids than `before`."""
        name = escaped(namespace)
        end = f"({name}{AFTER}" if before is None else f"({name}!{escaped(before)}"
        return end, f"[{name}!"

    @staticmethod
    def of_checkpoint(place: Place) -> tuple[str, str]:
        """Return end and start of one checkpoint."""
        return f"({place.prefix}{AFTER}", f"[{place.prefix}!"


def read_checkpoint(threads: Threads, keys: ThreadKeys, wanted: tuple[str, str]) -> Op[StoredCheckpoint | None]:
    """Return the newest checkpoint of a range; one request and four commands, two more if reading restarts the ttl.

    More requests if the values do not fit a reply.
    """
    script = call("read_checkpoint", keys.both, *wanted, threads.max_request_bytes // 2)
    return (yield from _read(threads, keys, script))


def read_newest(threads: Threads, keys: ThreadKeys, before: str | None) -> Op[StoredCheckpoint | None]:
    """Return the checkpoint with the greatest id in any namespace, or the greatest that is smaller than `before`.

    Costs one command more than `read_checkpoint`.
    """
    limit = "" if before is None else escaped(before)
    return (yield from _read(threads, keys, call("read_newest", keys.both, limit, threads.max_request_bytes // 2)))


def _read(threads: Threads, keys: ThreadKeys, script: Command) -> Op[StoredCheckpoint | None]:
    answer = yield from read_from_leader(script, *expire_on_read(threads, keys))
    if len(answer) == 1:
        return None
    _, members, stored, page_texts, values = answer
    return (yield from _assembled(keys, texts_of(members), values_of(stored), values_of(page_texts), values_of(values)))


def read_text(keys: ThreadKeys, text: bytes) -> Op[bytes]:
    """Return a stored text; joins it if it is stored in parts."""
    if not text.startswith(b"+"):
        return text
    fields = fields_of(text.decode())
    parts = yield from read_fields(keys, fields)
    return b"".join(parts[field] for field in fields if field in parts)


class Fetched:
    """The groups and pages that were read so far, so that a listing reads each once."""

    def __init__(self) -> None:
        self.groups: dict[str, str] = {}
        self.pages: dict[str, list[str]] = {}


def read_checkpoints(keys: ThreadKeys, names: Sequence[Named], fetched: Fetched) -> Op[list[StoredCheckpoint]]:
    """Return checkpoints that still exist, in order; one request, and more for values that were not fetched before.

    Args:
        keys: The thread.
        names: Checkpoints, with the names of their writes.
        fetched: What was read before; what is read now is added.
    """
    members = _members(names)
    stored = yield from read_fields(keys, members)
    found = [(name, writes) for name, writes in names if name.member in stored]
    texts = {name: loaded_checkpoint(stored[name.member], name.place.prefix) for name, _ in found}
    tokens = [token for text in texts.values() for entry in text.header.channels.values() for token in entry.tokens]
    yield from _read_pages(keys, tokens, fetched.pages)
    manifests = {
        name: {channel: loaded(entry.tokens, fetched.pages) for channel, entry in text.header.channels.items()}
        for name, text in texts.items()
    }
    groups = fetched.groups
    wanted = {ref for of in manifests.values() for manifest in of.values() for ref in manifest.refs} - groups.keys()
    yield from _read_groups(keys, wanted, groups)
    checkpoints = []
    for name, writes in found:
        _check_complete(name, manifests[name], groups)
        loaded_of = yield from _loaded_writes(keys, writes, stored)
        checkpoints.append(StoredCheckpoint(name, texts[name], loaded_of, manifests[name], groups))
    return checkpoints


def read_headers(keys: ThreadKeys, names: Sequence[Named]) -> Op[list[StoredHeader]]:
    """Return checkpoints that still exist without their values; one request."""
    return (yield from _headers(keys, names, (yield from read_fields(keys, _members(names)))))


def _assembled(
    keys: ThreadKeys,
    members: Sequence[str],
    stored: Sequence[bytes | None],
    page_texts: Sequence[bytes | None],
    values: Sequence[bytes | None],
) -> Op[StoredCheckpoint]:
    name = parsed(members[-1])
    texts = {member: text for member, text in zip(members, stored, strict=True) if text is not None}
    if not isinstance(name, CheckpointName) or members[-1] not in texts:
        raise CorruptCheckpoint(members[-1], "the checkpoint is missing, though its name is stored")
    text = loaded_checkpoint(texts[members[-1]], name.place.prefix)
    tokens = [token for entry in text.header.channels.values() for token in entry.tokens]
    pages, fields = walked(tokens, page_texts, name)
    manifests = {channel: loaded(entry.tokens, pages) for channel, entry in text.header.channels.items()}
    read = yield from with_missing(keys, fields, values)
    groups = _joined_parts({ref for manifest in manifests.values() for ref in manifest.refs}, read)
    _check_complete(name, manifests, groups)
    writes = yield from _loaded_writes(keys, [w for w in map(parsed, members) if isinstance(w, WritesName)], texts)
    return StoredCheckpoint(name, text, writes, manifests, groups)


def with_missing(keys: ThreadKeys, fields: Sequence[str], values: Sequence[bytes | None]) -> Op[dict[str, bytes]]:
    """Return the fields that exist, given the values of the first of them; the others are read."""
    read = {field: value for field, value in zip(fields, values, strict=False) if value is not None}
    read.update((yield from read_fields(keys, fields[len(values) :])))
    return read


def walked(
    tokens: Sequence[str], page_texts: Sequence[bytes | None], name: CheckpointName
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the pages and fields below tokens, in the order in which `walk` in `include/tokens.lua` meets them."""
    texts = iter(page_texts)
    pages: dict[str, list[str]] = {}
    fields: list[str] = []
    met: set[str] = set()
    while tokens:
        below: list[str] = []
        for token in tokens:
            if token in met:
                continue
            met.add(token)
            if is_page(token):
                text = next(texts, None)
                if text is None:
                    raise CorruptCheckpoint(name.place.prefix, "a page of its values is missing")
                pages[page_field(token)] = orjson.loads(text)
                below += pages[page_field(token)]
            else:
                fields += [field for ref in refs_of(token) for field in fields_of(ref)]
        tokens = below
    return pages, fields


def _members(names: Sequence[Named]) -> list[str]:
    return [member for named in names for member in (named.name.member, *(writes.member for writes in named.writes))]


def _read_pages(keys: ThreadKeys, tokens: Iterable[str], pages: dict[str, list[str]]) -> Op[None]:
    """Add the pages below tokens to `pages`, those that it has not yet."""
    wanted = {page_field(token) for token in tokens if is_page(token)} - pages.keys()
    while wanted:
        found = yield from read_fields(keys, sorted(wanted))
        if missing := wanted - found.keys():
            raise CorruptCheckpoint(keys.thread_id, f"a page of its values is missing ({min(missing)})")
        below = {field: orjson.loads(text) for field, text in found.items()}
        pages |= below
        wanted = {page_field(token) for inner in below.values() for token in inner if is_page(token)} - pages.keys()


def _read_groups(keys: ThreadKeys, refs: set[str], groups: dict[str, str]) -> Op[None]:
    if refs:
        ordered = sorted(refs)
        found = yield from read_fields(keys, [field for ref in ordered for field in fields_of(ref)])
        groups.update(_joined_parts(refs, found))


def _joined_parts(refs: Iterable[str], fields: Mapping[str, bytes]) -> dict[str, str]:
    """Return the text of each group of which no field is missing."""
    groups = {}
    for ref in refs:
        parts = [fields.get(field) for field in fields_of(ref)]
        found = [part for part in parts if part is not None]
        if len(found) == len(parts):
            groups[ref] = b"".join(found).decode()
    return groups


def joined_groups(
    name: CheckpointName, channel: str, manifest: Manifest, fields: Mapping[str, bytes]
) -> dict[str, str]:
    """Return the text of each group of a value; raises CorruptCheckpoint if one is missing."""
    groups = _joined_parts(manifest.refs, fields)
    _check_complete(name, {channel: manifest}, groups)
    return groups


def stored_headers(keys: ThreadKeys, members: Sequence[str], texts: Sequence[bytes | None]) -> Op[list[StoredHeader]]:
    """Return the checkpoints among members, each of which is followed by its writes."""
    stored = {member: text for member, text in zip(members, texts, strict=True) if text is not None}
    return (yield from _headers(keys, named(members), stored))


def _headers(keys: ThreadKeys, names: Sequence[Named], stored: Mapping[str, bytes]) -> Op[list[StoredHeader]]:
    headers: list[StoredHeader] = []
    for name, writes in names:
        if name.member in stored:
            text = loaded_checkpoint(stored[name.member], name.place.prefix)
            headers.append(StoredHeader(name, text, (yield from _loaded_writes(keys, writes, stored))))
    return headers


def _check_complete(name: CheckpointName, manifests: Mapping[str, Manifest], groups: Mapping[str, str]) -> None:
    for channel, manifest in manifests.items():
        if any(ref not in groups for ref in manifest.refs):
            raise CorruptCheckpoint(name.place.prefix, f"a part of the value of {channel!r} is missing")


def _loaded_writes(
    keys: ThreadKeys, names: Iterable[WritesName], texts: Mapping[str, bytes]
) -> Op[list[tuple[WritesName, WritesText]]]:
    writes = []
    for name in names:
        if (text := texts.get(name.member)) is not None:
            whole = yield from read_text(keys, text)
            writes.append((name, loaded_writes(whole, name.place.prefix)))
    return writes


def texts_of(members: Reply) -> list[str]:
    """Return the strings of a reply."""
    return [member.decode() for member in values_of(members) if member is not None]


def values_of(replies: Reply) -> list[bytes | None]:
    """Return the values of a reply; None for each that is missing."""
    return [reply if isinstance(reply, bytes) else None for reply in replies] if isinstance(replies, list) else []
