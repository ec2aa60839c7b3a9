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
from chatstash.threads.operations.read import read_known
from chatstash.threads.operations.requests import batches_of, write
from chatstash.threads.serializer import Serializer
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
    """What to send: the fields of new groups and pages, the header, and whether it names groups stored earlier."""

    fields: dict[str, str]
    text: str
    known: KnownCheckpoint
    relies_on_stored: bool


def put(threads: Threads, keys: ThreadKeys, new: NewCheckpoint, serializer: Serializer) -> Op[None]:
    """Store a checkpoint; one request and two commands, four with a ttl.

    More requests for values over the size of a request. If the thread expired, or was deleted or pruned since its last
    checkpoint was read, the whole state is stored, with one more request.
    """
    parent = yield from _parent(threads, keys, new, serializer)
    plan = _planned(threads, new, parent, serializer)
    is_whole = yield from _store(threads, keys, new, plan)
    if not is_whole:
        threads.known.forget(keys.data)
        threads.index.forget(keys)
        plan = _planned(threads, new, None, serializer)
        yield from _store(threads, keys, new, plan)
    threads.known.put(keys.data, new.place, plan.known)
    _warn_if_large(keys, parent, plan.known)


def _parent(
    threads: Threads, keys: ThreadKeys, new: NewCheckpoint, serializer: Serializer
) -> Op[KnownCheckpoint | None]:
    """Return the stored values of the parent; reads its header only if a value is nowhere else."""
    if not new.parent_id:
        return None
    place = Place(new.place.namespace, new.parent_id)
    known = threads.known.get(keys.data, place)
    if known is None and any(new.value_of(channel) is None for channel in new.unchanged):
        known = yield from read_known(threads, keys, place, serializer)
    return known


def _planned(threads: Threads, new: NewCheckpoint, parent: KnownCheckpoint | None, serializer: Serializer) -> _Plan:
    fields: dict[str, str] = {}
    before = parent.values if parent is not None else {}
    values: dict[str, KnownValue] = {}
    writer = _Writer(threads, serializer, fields)
    for channel, version in new.unchanged.items():
        stored = before.get(channel)
        if stored is not None and stored.version == version:
            values[channel] = stored
        elif (value := new.value_of(channel)) is not None:
            values[channel] = writer.stored(value, stored)
    for channel, value in new.changed.items():
        values[channel] = writer.stored(value, before.get(channel))
    size = (parent.stored_bytes if parent is not None else 0) + sum(map(len, fields.values()))
    entries = {name: ChannelEntry(value.kind, value.note, value.manifest.tokens) for name, value in values.items()}
    text = CheckpointText(Header(entries, new.delta_channels, size), new.body, new.metadata).dumped()
    known = KnownCheckpoint(values, size + len(text))
    relies = any(field not in fields for value in values.values() for field in _own_fields(value))
    return _Plan(fields, text, known, relies)


def _own_fields(value: KnownValue) -> Sequence[str]:
    pages = [page_field(token) for token in value.manifest.tokens if is_page(token)]
    return [*pages, *(fields_of(ref)[0] for ref in value.manifest.refs)]


class _Writer:
    """Collects the fields of new groups and pages."""

    def __init__(self, threads: Threads, serializer: Serializer, fields: dict[str, str]) -> None:
        self._threads = threads
        self._serializer = serializer
        self._fields = fields

    def stored(self, value: NewValue, before: KnownValue | None) -> KnownValue:
        """Return a value of which each group is stored: under the reference it had before, or a new one."""
        digests = tuple(group.digest for group in value.split.groups)
        refs = dict(zip(before.digests, before.manifest.refs, strict=True)) if before is not None else {}
        missing = {
            digest: group for digest, group in zip(digests, value.split.groups, strict=True) if digest not in refs
        }
        refs.update(self._store(missing))
        pages = before.manifest.pages if before is not None else ()
        manifest = encoded([refs[digest] for digest in digests], pages, self._store_page)
        return KnownValue(value.version, value.split.kind, value.note, manifest, digests)

    def _store(self, missing: Mapping[bytes, Dumped]) -> dict[bytes, str]:
        texts = {digest: self._serializer.seal(group) for digest, group in missing.items()}
        sizes = [_part_count(text, self._threads.part_bytes) for text in texts.values()]
        names = iter(self._threads.segment.take(sum(sizes)))
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
        yield from write(threads, keys, ("HSET", keys.data, *_flat(batch)))
    own = {new.name.member: plan.text, new.place.alive_field: "1"}
    markers = {VERSION_FIELD: "1"}
    if new.parent_id:
        markers[Place(new.place.namespace, new.parent_id).alive_field] = "1"
    replies = yield from write(
        threads,
        keys,
        ("HSET", keys.data, *_flat(last | own | markers)),
        ("ZADD", keys.names, *_scored([new.name.member, *_index_members(new)])),
        more=_noted(threads, keys, new),
    )
    added = replies[0]
    return not (plan.relies_on_stored and isinstance(added, int) and added > len(last) + len(own))


def _index_members(new: NewCheckpoint) -> list[str]:
    user = [] if new.user_id is None else [user_member(new.user_id)]
    return user if new.run_id is None else [*user, run_member(new.run_id)]


def _noted(threads: Threads, keys: ThreadKeys, new: NewCheckpoint) -> list[Command]:
    noted = list(threads.index.touching(keys, new.user_id, is_new=not new.parent_id and not new.place.namespace))
    if new.run_id is not None:
        noted += threads.index.noting_run(new.run_id, keys, new.place)
    return noted


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _scored(members: Sequence[str]) -> list[str | int]:
    return [part for member in members for part in (0, member)]


def _warn_if_large(keys: ThreadKeys, before: KnownCheckpoint | None, now: KnownCheckpoint) -> None:
    if (before.stored_bytes if before is not None else 0) <= LARGE_THREAD_BYTES < now.stored_bytes:
        warnings.warn(LargeThreadWarning(keys.thread_id, now.stored_bytes), stacklevel=2)
