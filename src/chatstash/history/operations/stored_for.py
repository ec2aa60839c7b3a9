"""Reads the records that were appended with an idempotency key: the answer to a redelivered event.

The marker of the key names the batch that was appended, and each record has its batch in its id.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from chatstash.history.operations.contents import entries_of
from chatstash.history.records.identity import identity
from chatstash.history.records.keys import checked_idempotency_key
from chatstash.history.records.markers import marker_key, parse_marker
from chatstash.history.records.record import Record
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_script
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


def stored_for(key: str, idempotency_key: str) -> Op[list[Record] | None]:
    """Return the records that were appended with an idempotency key, oldest first; one request.

    Two commands if the key was not used; otherwise four, and a few more if over a hundred records were appended since.
    """
    marker = marker_key(key, checked_idempotency_key(idempotency_key))
    answer = yield from run_script(key, call("stored_for", (key, marker)), Effect.IDEMPOTENT)
    used, _ = checked_counts(answer, 2, Effect.IDEMPOTENT)
    if not used:
        return None
    _, _, value, newest_first = answer
    batch = parse_marker(checked_reply(bytes, value, Effect.IDEMPOTENT)).batch
    stored = [
        checked_reply(bytes, raw, Effect.IDEMPOTENT) for raw in checked_reply(list, newest_first, Effect.IDEMPOTENT)
    ]
    return _each_once(stored, batch, key)


def _each_once(newest_first: Iterable[bytes], batch: str, key: str) -> list[Record]:
    """Return the records of a batch, oldest first, without duplicates and without unreadable ones."""
    stored = {identity(raw): raw for raw in newest_first}
    entries = entries_of(list(stored.values()), key)
    records = [(entry.id, entry) for entry in entries if isinstance(entry, Record)]
    found = [(record_id.position, record) for record_id, record in records if record_id and record_id.batch == batch]
    return [record for _, record in sorted(found, key=itemgetter(0))]
