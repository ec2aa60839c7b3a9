"""The generation of a conversation: a number that an edit in place increases, so that readers notice.

It is `g`, the last field of the newest record that has an id (`identity`). It is not part of the message: records that
differ only in it are equal.
"""

from __future__ import annotations

import re

from chatstash.errors import UnreadableRecord
from chatstash.history.records import identity
from chatstash.history.records.decoding import decode
from chatstash.history.records.record import Record, RecordId

_GENERATION = re.compile(rb',"g":[0-9]{1,9}\}\Z')
_LONGEST_GENERATION = 16


def has_generation(raw: bytes) -> bool:
    """Tell whether a stored record has a generation, in whatever form it is written."""
    try:
        return b'"g"' in raw and "g" in decode(raw).other
    except UnreadableRecord:
        return False


def with_new_id(record: Record, record_id: RecordId) -> Record:
    """Return a record with a new id and without the generation that it may have where it was read."""
    other = {name: value for name, value in record.other.items() if name != "g"} if record.other else {}
    return Record(record.type, record.data, record_id, other)


def without_generation(raw: bytes) -> bytes:
    """Return a stored record without its generation."""
    found = _GENERATION.search(raw[-_LONGEST_GENERATION:]) if identity.has_id(raw) else None
    return raw if found is None else raw[: -len(found[0])] + b"}"
