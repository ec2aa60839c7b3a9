"""The records that were appended with an idempotency key, as an operation: what a redelivered event is answered with.

The marker of the key names the batch that was appended first, and each record holds its batch in its id. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from chatstash.history.operations.append import marker_key
from chatstash.history.operations.read import entries_of
from chatstash.history.records.identity import identity
from chatstash.history.records.keys import checked_idempotency_key
from chatstash.history.records.record import Record
from chatstash.history.scripts.appending import VOID
from chatstash.history.scripts.pieces import COUNTED, SCAN
from chatstash.history.steps.lists import counts, expect, run_script
from chatstash.rest.commands import KEY_LOCKING, Effect
from chatstash.rest.ops import Op

# By a script, for a plain read might be answered by a replica that lags. KEYS: the conversation, the marker. Answers
# [whether the marker is set, commands, its value, records newest first]; looking ends with the first of the batch.
_STORED = f"""{KEY_LOCKING}{COUNTED}{SCAN}
local held = call('GET', KEYS[2])
if not held or string.sub(held, 1, {len(VOID)}) == '{VOID}' then return {{0, ran, '', {{}}}} end
local found, batch = {{}}, string.match(held, ':(.*)$') or ''
scan(function(raw)
  if not batch_among(raw, {{batch}}) then return false end
  found[#found + 1] = raw
  return string.find(identity(raw), '.0/', 17, true) == 17
end)
return {{1, ran, held, found}}
"""


def stored_for(key: str, idempotency_key: str) -> Op[list[Record] | None]:
    """Return the records that were appended with an idempotency key, oldest first; one request.

    Two commands where the key was not used; else four, and a few more where over a hundred records came since.

    Args:
        key: The conversation's key.
        idempotency_key: The key.

    Returns:
        The records that are still stored, or None where the key was not used, or longer ago than it is remembered.

    Raises:
        ValueError: The idempotency key is no text; nothing was sent.
        WrongType: The key holds something else.
    """
    marker = marker_key(key, checked_idempotency_key(idempotency_key))
    answer = yield from run_script(key, ("EVAL", _STORED, 2, key, marker), Effect.IDEMPOTENT)
    used, _ = counts(answer, 2, Effect.IDEMPOTENT)
    if not used:
        return None
    _, _, value, newest_first = answer
    batch = expect(bytes, value, Effect.IDEMPOTENT).decode("ascii", "replace").partition(":")[2]
    stored = [expect(bytes, raw, Effect.IDEMPOTENT) for raw in expect(list, newest_first, Effect.IDEMPOTENT)]
    return _each_once(stored, batch, key)


def _each_once(newest_first: Iterable[bytes], batch: str, key: str) -> list[Record]:
    """Return the records of a batch, oldest first; of duplicates, the oldest. What cannot be read is left out."""
    stored = {identity(raw): raw for raw in newest_first}
    entries = entries_of(list(stored.values()), key)
    records = [entry for entry in entries if isinstance(entry, Record) and entry.id and entry.id.batch == batch]
    return sorted(records, key=lambda record: record.id.position if record.id else 0)
