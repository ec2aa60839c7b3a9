"""Reads a whole conversation: every record once, oldest first, even where some cannot be decoded."""

from __future__ import annotations

from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.operations.contents import Contents, Entries, entries_of
from chatstash.history.records.decoding import have_distinct_ids, parse_all
from chatstash.history.steps.chunks import stored_records
from chatstash.history.steps.duplicates import distinct, remove_duplicates, suspects
from chatstash.history.steps.fetch import Fetched, fetch
from chatstash.history.values.options import Options
from chatstash.rest.ops import Op


def read(key: str, options: Options, snapshot: Snapshot | None = None) -> Op[Contents]:
    """Read a whole conversation; costs and errors as `Session.read`."""
    fetched = yield from fetch(key, None, options, snapshot)
    if contents := _without_duplicates(fetched, key):
        return contents
    removal = yield from remove_duplicates(key, suspects(entries_of(fetched.stored, key), 0, {}))
    if removal.removed:
        fetched = yield from fetch(key, None, options)
    stored = fetched.stored
    return Contents(distinct(entries_of(stored, key)), len(stored), stored)


def read_stored(key: str, max_bytes: int) -> Op[Contents]:
    """Read a whole conversation and change nothing; one request and one command, more if the reply would be too large.

    Duplicates are hidden, but not removed, and the expiry stays as it is.
    """
    stored = yield from stored_records(key, None, max_bytes)
    return Contents(distinct(entries_of(stored, key)), len(stored), stored)


def _without_duplicates(fetched: Fetched, key: str) -> Contents | None:
    """Return the contents of what was fetched; None if a record is there twice."""
    stored = fetched.stored
    fields = parse_all(stored)
    if fields is not None and have_distinct_ids(fields):
        return Contents(Entries(stored, key, fields), len(stored), stored, fetched=fetched)
    entries = entries_of(stored, key)
    if len(distinct(entries)) < len(entries):
        return None
    return Contents(entries, len(stored), stored, fetched=fetched)
