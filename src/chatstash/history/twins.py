"""Copies of a record, as a request leaves them that was applied late: passed over, and taken out. Pure, but for a log.

A record's id is its identity, so the oldest record of an id counts. Only copies that are equal to the last byte are
taken out of storage; whatever else has the same id is for `chatstash doctor`. Records of other libraries have no id
and are never taken for copies.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from chatstash.errors import ChatstashError, ReadOnlyToken, UnreadableRecord
from chatstash.history import scripts
from chatstash.history.lists import counts, run_script
from chatstash.history.records import Record, RecordId
from chatstash.history.sizes import parts
from chatstash.rest.commands import Cost, Effect
from chatstash.rest.ops import Op

_log = logging.getLogger("chatstash")


def without_twins(
    entries: Sequence[Record | UnreadableRecord],
) -> tuple[Sequence[Record | UnreadableRecord], list[bytes]]:
    """Return the entries without later copies, and the stored form of each record of which there are equal copies."""
    oldest: dict[RecordId, Record] = {}
    kept: list[Record | UnreadableRecord] = []
    twins: dict[bytes, None] = {}
    for entry in entries:
        if not isinstance(entry, Record) or entry.rid is None or oldest.setdefault(entry.rid, entry) is entry:
            kept.append(entry)
        elif oldest[entry.rid].raw == entry.raw:
            twins[entry.raw] = None
    return kept, list(twins)


def suspects(entries: Sequence[Record | UnreadableRecord]) -> list[bytes]:
    """Return the stored form of records that may be copies of older ones, which `entries` need not hold.

    A copy was written before its older neighbour, but came after it; or its append begins anew. Writers' clocks differ,
    so it may be none.
    """
    known = [(entry.rid, entry.raw) for entry in entries if isinstance(entry, Record) and entry.rid is not None]
    late = {newer.batch for (older, _), (newer, _) in pairwise(known) if _comes_late(older, newer)}
    return [raw for rid, raw in known if rid.batch in late]


def _comes_late(older: RecordId, newer: RecordId) -> bool:
    if older.batch == newer.batch:
        return newer.position <= older.position
    return newer.time_ms < older.time_ms


class Taken(NamedTuple):
    """What taking copies out did: the records that are left, how many went, and the cost."""

    stored: Sequence[bytes]
    removed: int
    cost: Cost


def take_out(key: str, stored: Sequence[bytes], twins: Sequence[bytes], limit: int) -> Op[Taken]:
    """Take later copies out of storage; one request, or a few where they are large.

    The reader has what it asked for: a failure is logged, and the copies are left to the next reader.

    Args:
        key: The conversation's key.
        stored: All its records, oldest first.
        twins: Those of which there are copies.
        limit: What a request may have, in bytes.

    Returns:
        What is stored from now on, as far as it was given; how many copies were taken out; and the cost.
    """
    removed, cost = 0, Cost()
    try:
        for part in parts(key, [raw.decode() for raw in twins], limit):
            answer, spent = yield from run_script(key, scripts.removing_twins(key, part), Effect.IDEMPOTENT)
            (gone,) = counts(answer, 1, Effect.IDEMPOTENT)
            removed += gone
            cost += spent
            stored = _oldest_of_equals(stored, part)
    except ChatstashError as error:
        level = logging.DEBUG if isinstance(error, ReadOnlyToken) else logging.WARNING
        _log.log(level, "copies of records of %r could not be taken out, and are passed over: %s", key, error)
    return Taken(stored, removed, cost)


def _oldest_of_equals(stored: Sequence[bytes], twins: Sequence[str]) -> list[bytes]:
    seen = dict.fromkeys((text.encode() for text in twins), 0)
    left = []
    for raw in stored:
        if raw in seen:
            seen[raw] += 1
        if seen.get(raw, 0) < 2:
            left.append(raw)
    return left
