"""The generation of a conversation: a number that an edit in place counts up, so that readers notice. Pure.

It is `g`, the last field of the newest record that has an id (`identity`). It is no part of what the record says:
records that differ by it alone are equal.
"""

from __future__ import annotations

import re
from dataclasses import replace

from chatstash.errors import UnreadableRecord
from chatstash.history.records import identity
from chatstash.history.records.record import Record, RecordId, decode

_GENERATION = re.compile(rb',"g":[0-9]{1,9}\}\Z')
_LONGEST_GENERATION = 16


def can_carry_generation(raw: bytes) -> bool:
    """Tell whether an edit may write the generation into a stored record: it has an id."""
    return identity.has_id(raw)


def has_generation(raw: bytes) -> bool:
    """Tell whether a stored record has a generation, in whatever form it is written."""
    try:
        return b'"g"' in raw and "g" in decode(raw).other
    except UnreadableRecord:
        return False


def appended_anew(record: Record, rid: RecordId) -> Record:
    """Return a record as it is appended: with its new id, and without the generation of where it was read."""
    other = {name: value for name, value in record.other.items() if name != "g"} if record.other else {}
    return replace(record, id=rid, other=other)


def without_generation(raw: bytes) -> bytes:
    """Return a stored record without its generation."""
    found = _GENERATION.search(raw[-_LONGEST_GENERATION:]) if identity.has_id(raw) else None
    return raw if found is None else raw[: -len(found[0])] + b"}"
