"""Reads a whole conversation as it is stored, and changes nothing: for copies of it elsewhere."""

from __future__ import annotations

from chatstash.history.operations.contents import Contents, entries_of
from chatstash.history.steps.chunks import stored_records
from chatstash.history.steps.duplicates import distinct
from chatstash.rest.ops import Op


def read_stored(key: str, max_bytes: int) -> Op[Contents]:
    """Read every record once, oldest first; one request and one command, more if the reply would be too large.

    Duplicates are hidden, but not removed, and the conversation's expiry stays as it is.
    """
    stored = yield from stored_records(key, None, max_bytes)
    return Contents(distinct(entries_of(stored, key)), len(stored), stored)
