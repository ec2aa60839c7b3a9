"""Stores an imported conversation, and reports the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from chatstash.calls import Call, Calls
from chatstash.errors import ConversationExists, DatabaseError, RequestTooLarge, UnstorableMessage
from chatstash.history.records.encoding import encoded_metadata
from chatstash.history.records.index import automatic_title
from chatstash.history.records.lines import Header
from chatstash.history.records.record import Entry, Record
from chatstash.history.sessions import checked_title
from chatstash.history.steps.indexing import Description
from chatstash.history.store import Store
from chatstash.history.values.results import AppendResult
from chatstash.transfer.report import Imported, ImportProblem, ImportReport, Skipped

IfExists = Literal["raise", "skip"]

ALREADY_THERE = "a conversation with its session id exists already"


def checked_id(name: str, value: str | None) -> str | None:
    """Return an id or None, or raise ValueError where it is neither."""
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(f"{name} must be a non-empty string or None, not {value!r:.80}")
    return value


def stored(
    store: Store, header: Header, entries: Sequence[Entry], if_exists: IfExists, report: ImportReport
) -> Calls[None]:
    """Store a conversation, and report the outcome."""
    session_id, user_id = header.session_id, header.user_id
    notes = ImportReport()
    try:
        session = store.session(session_id, user_id=user_id)
        description = _description(header, entries, session.address.entry is not None, notes)
        result: AppendResult = yield Call(session, "run", (session.restoring(entries, description),))
    except ConversationExists as error:
        if if_exists == "raise":
            error.report = report
            raise
        report.skipped.append(Skipped(session_id, ALREADY_THERE))
    except DatabaseError as error:
        if not isinstance(error, RequestTooLarge):
            raise
        report.errors.append(ImportProblem(str(error), session_id=session_id))
    except ValueError as error:
        # The ids are invalid, or a record is too large.
        report.errors.append(ImportProblem(str(error), session_id=session_id))
    else:
        if result.indexed is False:
            notes.skipped.append(Skipped(session_id, "the session index could not be updated: see the log"))
        report.imported.append(Imported(session_id, user_id, len(entries)))
        report.skipped += notes.skipped
        report.errors += notes.errors


def _description(header: Header, entries: Sequence[Entry], is_on_index: bool, notes: ImportReport) -> Description:
    """Return the description of a conversation for the index; notes what cannot be kept."""
    automatic = automatic_title(entry for entry in entries if isinstance(entry, Record))
    title = None if header.title == automatic else header.title
    if not is_on_index:
        if lost := [name for name, value in (("title", title), ("metadata", header.metadata)) if value]:
            reason = f"the session is on no index, so these were left out: {', '.join(lost)}"
            notes.skipped.append(Skipped(header.session_id, reason))
        return Description()
    return Description(
        _checked(partial(checked_title, title), header, notes) if title else "",
        _checked(partial(encoded_metadata, header.metadata), header, notes) if header.metadata else "",
        header.created_at,
        header.updated_at,
    )


def _checked(check: Callable[[], str], header: Header, notes: ImportReport) -> str:
    try:
        return check()
    except (ValueError, UnstorableMessage) as error:
        notes.errors.append(ImportProblem(f"it was left out: {error}", session_id=header.session_id))
        return ""
