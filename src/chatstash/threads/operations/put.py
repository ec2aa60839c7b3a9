"""Stores a checkpoint: only the groups that are not stored yet, and a header that names the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import orjson

from chatstash.errors import LargeThreadWarning
from chatstash.frozen import dataclass
from chatstash.rest.commands import Command
from chatstash.rest.ops import Op
from chatstash.threads.groups import Dumped, Split
from chatstash.threads.header import ChannelEntry, CheckpointText, Header
from chatstash.threads.known import KnownCheckpoint, KnownValue
from chatstash.threads.layout import VERSION_FIELD, CheckpointName, Place, ThreadKeys, run_member, user_member
from chatstash.threads.manifest import encoded, fields_of, is_page, page_field
from chatstash.threads.operations.read import Range, StoredCheckpoint, read_checkpoint
from chatstash.threads.operations.requests import batches_of, flat, scored, write
from chatstash.threads.threads import Threads

LARGE_THREAD_BYTES = 80 * 10**6
"""A hash may have 100 MB: https://upstash.com/docs/redis/troubleshooting/max_record_size_exceeded"""


class NewValue(NamedTuple):
    """A value to store: its channel's version, how the adapter notes it, and its groups."""

    version: object
    note: str
    split: Split


@dataclass(frozen=True)
class NewCheckpoint:
    """A checkpoint to store.

    Attributes:
        place: Where.
        parent_id: The checkpoint that it continues; empty for none.
        changed: The values of the channels that changed.
        unchanged: The versions of the channels that did not.
        value_of: Returns the value of an unchanged channel, or None if it has none: for a parent that is not stored.
        seal: Returns the text of a group.
        known_of: Returns what to remember of a checkpoint that was read.
        body: The text of the checkpoint without values.
        metadata: The text of the metadata.
        delta_channels: The channels whose value is made from the writes of earlier checkpoints.
        user_id: The user whose index shall name the thread.
        run_id: The run whose index shall name the checkpoint.
    """

    place: Place
    parent_id: str
    changed: Mapping[str, NewValue]
    unchanged: Mapping[str, object]
    value_of: Callable[[str], NewValue | None]
    seal: Callable[[Dumped], str]
    known_of: Callable[[StoredCheckpoint], KnownCheckpoint]
    body: str
    metadata: str
    delta_channels: tuple[str, ...] = ()
    user_id: str | None = None
    run_id: str | None = None

    @property
    def name(self) -> CheckpointName:
        """The name it is stored under."""
        return CheckpointName(self.place, self.parent_id)


class _Plan(NamedTuple):
    """What to send.

    Attributes:
        fields: New groups and pages.
        text: The checkpoint.
        known: What to remember of it.
        relies_on_stored: Whether it names groups that were stored earlier.
        noting: The commands that note the thread in the indexes.
    """

    fields: dict[str, str]
    text: str
    known: KnownCheckpoint
    relies_on_stored: bool
    noting: tuple[Command, ...]


def put(threads: Threads, keys: ThreadKeys, new: NewCheckpoint) -> Op[None]:
    """Store a checkpoint; one request and two commands, four with a ttl.

    More requests for values over the size of a request. If the thread expired, or was deleted or pruned since its last
    checkpoint was read, the whole state is stored, with one more request.
    """
    parent = yield from _parent(threads, keys, new)
    plan = _planned(threads, keys, new, parent)
    is_whole = yield from _store(threads, keys, new, plan)
    if not is_whole:
        threads.known.forget(keys.data)
        threads.index.forget(keys)
        plan = _planned(threads, keys, new, None)
        yield from _store(threads, keys, new, plan)
    threads.known.put(keys.data, new.place, plan.known)
    _warn_if_large(keys, parent, plan.known)


def _parent(threads: Threads, keys: ThreadKeys, new: NewCheckpoint) -> Op[KnownCheckpoint | None]:
    """Return the stored values of the parent; reads its header only if a value is nowhere else."""
    if not new.parent_id:
        return None
    place = Place(new.place.namespace, new.parent_id)
    known = threads.known.get(keys.data, place)
    if known is None and any(new.value_of(channel) is None for channel in new.unchanged):
        stored = yield from read_checkpoint(threads, keys, Range.of_checkpoint(place))
        known = None if stored is None else new.known_of(stored)
    return known


def _planned(threads: Threads, keys: ThreadKeys, new: NewCheckpoint, parent: KnownCheckpoint | None) -> _Plan:
    fields: dict[str, str] = {}
    values = _values(new, parent, _Writer(threads, new.seal, fields))
    noting = _noting(threads, keys, new)
    size = (parent.stored_bytes if parent is not None else 0) + sum(map(len, fields.values()))
    entries = {name: ChannelEntry(value.kind, value.note, value.manifest.tokens) for name, value in values.items()}
    header = Header(entries, new.delta_channels, size, threads.index.last_noted(keys, new.user_id))
    text = CheckpointText(header, new.body, new.metadata).dumped()
    relies = any(field not in fields for value in values.values() for field in _own_fields(value))
    return _Plan(fields, text, KnownCheckpoint(values, size + len(text)), relies, noting)


def _values(new: NewCheckpoint, parent: KnownCheckpoint | None, writer: _Writer) -> dict[str, KnownValue]:
    before = parent.values if parent is not None else {}
    values: dict[str, KnownValue] = {}
    for channel, version in new.unchanged.items():
        stored = before.get(channel)
        if stored is not None and stored.version == version:
            values[channel] = stored
        elif (value := new.value_of(channel)) is not None:
            values[channel] = writer.stored(value, stored)
    for channel, value in new.changed.items():
        values[channel] = writer.stored(value, before.get(channel))
    return values


def _noting(threads: Threads, keys: ThreadKeys, new: NewCheckpoint) -> tuple[Command, ...]:
    is_new = not new.parent_id and not new.place.namespace
    if is_new or threads.index.is_due(keys, new.user_id):
        return threads.index.noting(keys, new.user_id, is_new=is_new)
    return ()


def _own_fields(value: KnownValue) -> Sequence[str]:
    pages = [page_field(token) for token in value.manifest.tokens if is_page(token)]
    return [*pages, *(fields_of(ref)[0] for ref in value.manifest.refs)]


class _Writer:
    """Collects the fields of new groups and pages."""

    def __init__(self, threads: Threads, seal: Callable[[Dumped], str], fields: dict[str, str]) -> None:
        self._threads = threads
        self._seal = seal
        self._fields = fields

    def stored(self, value: NewValue, before: KnownValue | None) -> KnownValue:
        """Return a value of which each group is stored: under the reference it had before, or a new one."""
        digests = tuple(group.digest for group in value.split.groups)
        refs = dict(zip(before.digests, before.manifest.refs, strict=True)) if before is not None else {}
        missing = {
            digest: group for digest, group in zip(digests, value.split.groups, strict=True) if digest not in refs
        }
        refs.update(self._store(missing, self._names_for(value, before)))
        pages = before.manifest.pages if before is not None else ()
        manifest = encoded([refs[digest] for digest in digests], pages, self._store_page)
        return KnownValue(value.version, value.split.kind, value.note, manifest, digests)

    def _names_for(self, value: NewValue, before: KnownValue | None) -> Callable[[int], list[str]]:
        """Return what names the fields of new groups: those of a list or dict follow the last that it has."""
        if value.split.kind == "v":
            return self._threads.segment.take
        refs = before.manifest.refs if before is not None else ()
        last = fields_of(refs[-1])[-1] if refs else ""
        return lambda count: self._threads.segment.take_after(last, count)

    def _store(self, missing: Mapping[bytes, Dumped], named: Callable[[int], list[str]]) -> dict[bytes, str]:
        texts = {digest: self._seal(group) for digest, group in missing.items()}
        sizes = [_part_count(text, self._threads.part_bytes) for text in texts.values()]
        names = iter(named(sum(sizes)) if sizes else ())
        return {
            digest: stored_in_parts(text, [next(names) for _ in range(size)], self._fields)
            for (digest, text), size in zip(texts.items(), sizes, strict=True)
        }

    def _store_page(self, tokens: Sequence[str]) -> str:
        (field,) = self._threads.segment.take(1)
        self._fields[field] = orjson.dumps(tokens).decode()
        return field


def _part_count(text: str, most: int) -> int:
    return max(1, -(-len(text) // most))


def stored_in_parts(text: str, names: Sequence[str], fields: dict[str, str]) -> str:
    """Add a text to fields, in as many parts as there are names, which follow each other. Return its reference."""
    if len(names) == 1:
        fields[names[0]] = text
        return names[0]
    size = _part_count(text, len(names))
    for at, name in enumerate(names):
        fields[name] = text[at * size : (at + 1) * size]
    return f"+{names[0]}-{names[-1].rpartition('.')[2]}"


def stored_apart(threads: Threads, text: str, fields: dict[str, str]) -> str:
    """Return a text that fits a request: the text itself, or a reference to parts, which are added to fields."""
    count = _part_count(text, threads.part_bytes)
    return text if count == 1 else stored_in_parts(text, threads.segment.take(count), fields)


def _store(threads: Threads, keys: ThreadKeys, new: NewCheckpoint, plan: _Plan) -> Op[bool]:
    """Send a plan. Return False if groups that it relies on are gone."""
    *earlier, last = batches_of(plan.fields, threads.part_bytes)
    for batch in earlier:
        yield from write(threads, keys, ("HSET", keys.data, *flat(batch)))
    own = {new.name.member: plan.text, new.place.alive_field: "1"}
    markers = {VERSION_FIELD: "1"}
    if new.parent_id:
        markers[Place(new.place.namespace, new.parent_id).alive_field] = "1"
    replies = yield from write(
        threads,
        keys,
        ("HSET", keys.data, *flat(last | own | markers)),
        ("ZADD", keys.names, *scored([new.name.member, *_index_members(new)])),
        more=(*plan.noting, *_noting_run(threads, keys, new)),
    )
    added = replies[0]
    return not (plan.relies_on_stored and isinstance(added, int) and added > len(last) + len(own))


def _index_members(new: NewCheckpoint) -> list[str]:
    user = [] if new.user_id is None else [user_member(new.user_id)]
    return user if new.run_id is None else [*user, run_member(new.run_id)]


def _noting_run(threads: Threads, keys: ThreadKeys, new: NewCheckpoint) -> tuple[Command, ...]:
    return () if new.run_id is None else threads.index.noting_run(new.run_id, keys, new.place)


def _warn_if_large(keys: ThreadKeys, before: KnownCheckpoint | None, now: KnownCheckpoint) -> None:
    if (before.stored_bytes if before is not None else 0) <= LARGE_THREAD_BYTES < now.stored_bytes:
        warnings.warn(LargeThreadWarning(keys.thread_id, now.stored_bytes), stacklevel=2)
