"""Exports conversations as JSON Lines, as a workflow of calls for both colours."""

from __future__ import annotations

from typing import Any

from chatstash.calls import Call, Streamed
from chatstash.history.operations.contents import entries_of
from chatstash.history.operations.slices import Slice, SlicePlace
from chatstash.history.records.lines import Header, record_line
from chatstash.history.session import Session
from chatstash.history.steps.duplicates import distinct
from chatstash.history.values.sessions import SessionInfo


def exported(session: Session[Any], info: SessionInfo | None = None) -> Streamed[str]:
    """Yield the lines of a conversation, without line ends: the header, and one for each record, oldest first.

    Duplicates are left out, unreadable records are not. Needs memory for a slice of records, and for the ids.

    Args:
        session: The conversation.
        info: The conversation on the session index; None to read it, if there is an index.
    """
    if info is None and (reading := session.reading_info()) is not None:
        info = yield Call(session, "run", (reading,))
    yield _header(session, info).to_line()
    place: SlicePlace | None = SlicePlace()
    seen: set[bytes] = set()
    number = 0
    while place is not None:
        part: Slice = yield Call(session, "run", (session.reading_slice(place),))
        for entry in distinct(entries_of(part.stored, session.key, place.first), seen=seen):
            yield record_line(number, entry)
            number += 1
        place = part.following


def _header(session: Session[Any], info: SessionInfo | None) -> Header:
    # A session id is needed for the import; the key stands for one outside of the store's prefix.
    named = session.address.named
    known = Header(session.key) if named is None else Header(named.session_id, named.user_id)
    if info is None:
        return known
    return known._replace(
        title=info.title, metadata=info.metadata, created_at=info.created_at, updated_at=info.updated_at
    )
