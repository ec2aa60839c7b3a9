"""What becomes of records that cannot be read: an error, nothing, or a placeholder. Pure, but for a log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from chatstash.errors import UnreadableRecord
from chatstash.history.options import OnCorrupt
from chatstash.history.records import Record

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
        _log.warning("%s It is passed over.", error)
    if on_corrupt == "skip":
        return [entry for entry in entries if not isinstance(entry, UnreadableRecord)]
    return [placeholder(entry) if isinstance(entry, UnreadableRecord) else entry for entry in entries]


def placeholder_record(error: UnreadableRecord) -> Record:
    """Return the record that stands in for one that cannot be read: a system message that says so."""
    return Record("system", {"content": PLACEHOLDER_TEXT}, other={"unreadable": error.reason}, raw=error.raw)
