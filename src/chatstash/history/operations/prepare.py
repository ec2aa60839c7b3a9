"""Records made ready to be appended: numbered, encoded and checked, before anything is sent."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from chatstash.history.operations.append import Append, digest_of_records
from chatstash.history.records.encoding import encode, encode_text
from chatstash.history.records.generation import with_new_id
from chatstash.history.records.index import automatic_title
from chatstash.history.records.keys import checked_idempotency_key
from chatstash.history.records.record import RANDOM_BYTES, Record, RecordId, new_record_ids
from chatstash.history.steps.indexing import Activity, IndexEntry
from chatstash.history.values.options import Options


def prepared(
    key: str,
    records: Sequence[Record],
    options: Options,
    idempotency_key: str | None = None,
    entry: IndexEntry | None = None,
) -> Append:
    """Return the append of records, each with a new record id, noted on the session index if there is an entry."""
    most = options.max_stored_messages
    if most is not None and len(records) > most:
        raise ValueError(f"an append of {len(records)} messages is over max_stored_messages, {most}; nothing was sent")
    now_us, randomness = time.time_ns() // 1000, os.urandom(RANDOM_BYTES)
    ids = new_record_ids(len(records), time_ms=now_us // 1000, randomness=randomness)
    texts = [_encoded(record, record_id) for record, record_id in zip(records, ids, strict=True)]
    noting = None if entry is None or not texts else entry.noting(options.ttl, _activity(records, now_us, entry))
    if idempotency_key is None:
        return Append(key, texts, ids, options, noting=noting)
    digest = digest_of_records(records)
    return Append(key, texts, ids, options, checked_idempotency_key(idempotency_key), digest, noting)


def _activity(records: Sequence[Record], now_us: int, entry: IndexEntry) -> Activity:
    return Activity(now_us, automatic_title(records) if entry.has_titles else "")


def _encoded(record: Record, record_id: RecordId) -> str:
    if not isinstance(record, Record):
        return encode(record, index=record_id.position)
    text = encode_text(record, record_id)
    return encode(with_new_id(record, record_id), index=record_id.position) if text is None else text
