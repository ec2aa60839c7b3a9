"""Applies `on_corrupt` to records that cannot be read: an error, nothing, or a placeholder. Pure, but for a log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from chatstash.errors import UnreadableRecord
from chatstash.history.operations.read import Contents
from chatstash.history.options import OnCorrupt
from chatstash.history.records.record import Record
from chatstash.history.tool_calls.view import apply_view

T = TypeVar("T")

PLACEHOLDER_TEXT = "[A message that could not be read.]"

_log = logging.getLogger("chatstash")


def kept_of(
    entries: Sequence[T | UnreadableRecord], on_corrupt: OnCorrupt, placeholder: Callable[[UnreadableRecord], T]
) -> list[T]:
    """Return what can be read, and what stands in for what cannot, or raise.

    Args:
        entries: What was read, and the errors of what could not be, oldest first.
        on_corrupt: `raise` the first error, which names the others; `skip` with a warning in the log; or put a
            `placeholder` in its place, with the same warning.
        placeholder: Makes what stands in for a record.

    Raises:
        UnreadableRecord: With `raise`, where there is one.
    """
    errors = [entry for entry in entries if isinstance(entry, UnreadableRecord)]
    if not errors:
        return list(entries)  # type: ignore[arg-type] # all are T then
    if on_corrupt == "raise":
        errors[0].further = tuple(errors[1:])
        raise errors[0]
    for error in errors:
        _log.warning("%s %s", error, "It was left out." if on_corrupt == "skip" else "A placeholder was returned.")
    if on_corrupt == "skip":
        return [entry for entry in entries if not isinstance(entry, UnreadableRecord)]
    return [placeholder(entry) if isinstance(entry, UnreadableRecord) else entry for entry in entries]


def placeholder_record(error: UnreadableRecord) -> Record:
    """Return the placeholder of an unreadable record: a human message that says so.

    Providers accept a human message anywhere except between a tool call and its result (see `mended`). Some refuse a
    system message that is not the first.
    """
    return Record("human", {"content": PLACEHOLDER_TEXT}, other={"unreadable": error.reason}, raw=error.raw)


def readable_records(contents: Contents, on_corrupt: OnCorrupt) -> list[Record]:
    """Return the records of a read, without the unreadable ones or with their placeholders.

    Raises:
        UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`; has the records that can be read.
    """
    entries = list(contents.entries)
    try:
        records = kept_of(entries, on_corrupt, placeholder_record)
    except UnreadableRecord as error:
        error.records = [entry for entry in entries if isinstance(entry, Record)]
        raise
    return mended(records, contents) if any(isinstance(entry, UnreadableRecord) for entry in entries) else records


def mended(records: Sequence[Record], contents: Contents) -> list[Record]:
    """Apply the view of a read again: an unreadable one may have been a call or a result."""
    view = contents.view._replace(tool_calls=contents.view.tool_calls or "paired")
    system = 1 if contents.system_kept else 0
    given = apply_view(records[system:], view).entries
    return [*records[:system], *(record for record in given if isinstance(record, Record))]
