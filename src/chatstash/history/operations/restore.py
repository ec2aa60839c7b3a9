"""Restores a conversation: appends records with their stored bytes, where the conversation has none.

It is a guarded append to the snapshot of an empty conversation, with a marker, so it is applied once. Its marker has a
batch of its own: the records keep their ids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from chatstash.errors import ConversationExists, UnreadableRecord
from chatstash.history.operations.append import Append, Identifying, Refusal, append_or_refuse, stored_before
from chatstash.history.records.encoding import encode
from chatstash.history.records.index import automatic_title
from chatstash.history.records.record import RANDOM_BYTES, Entry, Record, RecordId, new_record_ids
from chatstash.history.scripts.appending import EMPTY
from chatstash.history.steps.indexing import NO_DESCRIPTION, Activity, Description, IndexEntry
from chatstash.history.values.options import Options
from chatstash.history.values.results import AppendResult
from chatstash.rest.ops import Op


def prepared_to_restore(
    key: str,
    entries: Sequence[Entry],
    options: Options,
    entry: IndexEntry | None = None,
    description: Description = NO_DESCRIPTION,
) -> Append:
    """Return the append of records as they are stored, all of them whatever `max_stored_messages` says."""
    stored = [_stored(each, index) for index, each in enumerate(entries)]
    options = replace(options, delivery="strict", max_stored_messages=None)
    ids = new_record_ids(len(stored), time_ms=time.time_ns() // 1_000_000, randomness=os.urandom(RANDOM_BYTES))
    noting = None if entry is None else entry.noting_all(options.ttl, _activity(entries, entry, description))
    also = () if entry is None else entry.describing(options.ttl, description)
    try:
        texts, is_hex = [raw.decode() for raw in stored], False
    except UnicodeDecodeError:
        texts, is_hex = [raw.hex() for raw in stored], True
    return Append(key, texts, ids, options, noting=noting, also=also, is_hex=is_hex)


def _activity(entries: Sequence[Entry], entry: IndexEntry, description: Description) -> Activity:
    """Return the activity that the index shows: from the first record to the last, or as described where none tells."""
    records = [each for each in entries if isinstance(each, Record)]
    now = time.time_ns() // 1_000_000
    described = [time_ms for time_ms in (description.created_ms, description.updated_ms) if time_ms is not None]
    known = [each.time_ms for each in records if each.time_ms is not None] or described or [now]
    times = [max(0, min(time_ms, now)) for time_ms in known]
    return Activity(max(times) * 1000, automatic_title(records) if entry.has_titles else "", min(times))


def _stored(entry: Entry, index: int) -> bytes:
    if isinstance(entry, (Record, UnreadableRecord)) and entry.raw:
        return entry.raw
    return encode(entry, index=index).encode()  # type: ignore[arg-type] # it refuses what is no record


def restore(wanted: Append, record_ids: list[RecordId]) -> Op[AppendResult]:
    """Append records if the conversation has none, or raise ConversationExists; costs and errors as `Session.restore`.

    Args:
        wanted: The append.
        record_ids: The ids that the records have, for the result.
    """
    with Identifying(wanted):
        done = yield from append_or_refuse(wanted, EMPTY)
    if not isinstance(done, Refusal):
        return done._replace(record_ids=record_ids)
    if isinstance(done.detail, bytes):
        # The marker of this very call: its first request was applied.
        done = yield from stored_before(wanted, done.length)
        return done._replace(record_ids=record_ids)
    raise ConversationExists(wanted.key)
