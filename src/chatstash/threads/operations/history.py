"""Reads the ancestors of a checkpoint, for channels whose value is made from writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.rest.commands import Reply
from chatstash.rest.ops import Op
from chatstash.threads.header import ChannelEntry, WritesText
from chatstash.threads.layout import AFTER, CheckpointName, Place, ThreadKeys, WritesName
from chatstash.threads.manifest import Manifest, loaded
from chatstash.threads.operations.read import (
    Range,
    StoredHeader,
    joined_groups,
    stored_headers,
    texts_of,
    values_of,
    walked,
    with_missing,
)
from chatstash.threads.operations.requests import read_from_leader
from chatstash.threads.scripts.loading import call
from chatstash.threads.threads import Threads


class StoredValue(NamedTuple):
    """A value: how its groups are joined, which they are, and their texts."""

    entry: ChannelEntry
    manifest: Manifest
    groups: dict[str, str]


class ChannelHistory(NamedTuple):
    """What the ancestors of a checkpoint contributed to a channel.

    Attributes:
        writes: The writes of each ancestor, the nearest first, back to the one that has a value.
        seed: The value of that one; None if no ancestor has one.
    """

    writes: list[Sequence[tuple[WritesName, WritesText]]]
    seed: StoredValue | None


class _Part(NamedTuple):
    """A part of the ancestors: them, the values of channels, and where the next part begins, if there is one."""

    headers: list[StoredHeader]
    seeds: dict[str, StoredValue]
    end: str
    wanted: str


def channel_histories(
    threads: Threads, keys: ThreadKeys, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
) -> Op[dict[str, ChannelHistory]]:
    """Return the history of channels; one request, more if it does not fit a reply.

    It ends at the nearest ancestor that has a value, so a snapshot bounds it.
    """
    end, start = Range.of_namespace(namespace)
    wanted = ""
    if checkpoint_id is not None:
        place = Place(namespace, checkpoint_id)
        end, wanted = Range.of_checkpoint(place)[0], place.prefix
    histories = {channel: ChannelHistory([], None) for channel in channels}
    part = yield from _read(threads, keys, (end, start), wanted, channels, leave_out=True)
    _add(histories, part)
    while part.wanted and (part.headers or part.end):
        missing = [channel for channel, history in histories.items() if history.seed is None]
        # A parent's id may be greater than its child's: then the range begins anew.
        end = part.end or f"({part.wanted}{AFTER}"
        part = yield from _read(threads, keys, (end, start), part.wanted, missing, leave_out=False)
        _add(histories, part)
    return histories


def _add(histories: dict[str, ChannelHistory], part: _Part) -> None:
    for header in part.headers:
        for channel, history in histories.items():
            if history.seed is None:
                history.writes.append(header.writes)
                if channel in header.text.header.channels:
                    histories[channel] = history._replace(seed=part.seeds[channel])


def _read(
    threads: Threads,
    keys: ThreadKeys,
    wanted_range: tuple[str, str],
    wanted: str,
    channels: Sequence[str],
    *,
    leave_out: bool,
) -> Op[_Part]:
    flag, most = "1" if leave_out else "", threads.max_request_bytes // 2
    script = call("read_history", keys.both, *wanted_range, wanted, flag, most, *channels)
    _, members, stored, pages, values, end, following = yield from read_from_leader(script)
    headers = yield from stored_headers(keys, texts_of(members), values_of(stored))
    seeds = yield from _seeds(keys, headers, channels, values_of(pages), values_of(values))
    return _Part(headers, seeds, _text(end), _text(following))


def _seeds(
    keys: ThreadKeys,
    headers: Sequence[StoredHeader],
    channels: Sequence[str],
    page_texts: Sequence[bytes | None],
    values: Sequence[bytes | None],
) -> Op[dict[str, StoredValue]]:
    """Return the first value of each channel, given the pages and values below its tokens."""
    entries: dict[str, tuple[CheckpointName, ChannelEntry]] = {}
    for header in headers:
        for channel, entry in header.text.header.channels.items():
            if channel in channels and channel not in entries:
                entries[channel] = header.name, entry
    tokens = [token for _, entry in entries.values() for token in entry.tokens]
    if not entries:
        return {}
    name = next(iter(entries.values()))[0]
    pages, fields = walked(tokens, page_texts, name)
    read = yield from with_missing(keys, fields, values)
    seeds = {}
    for channel, (name, entry) in entries.items():
        manifest = loaded(entry.tokens, pages)
        seeds[channel] = StoredValue(entry, manifest, joined_groups(name, channel, manifest, read))
    return seeds


def _text(reply: Reply) -> str:
    return reply.decode() if isinstance(reply, bytes) else ""
