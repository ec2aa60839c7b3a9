"""Exports a conversation as JSON Lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from chatstash.calls import astream, stream
from chatstash.history.exporting import exported
from chatstash.history.session import Session


def export_jsonl(session: Session[Any]) -> Iterator[str]:
    """Yield a conversation as JSON Lines, without line ends: a header, and a line for each record, oldest first.

    Lossless: every record with its stored bytes, id and time, readable or not. Duplicates that late requests left
    are left out. `import_jsonl` brings the conversation back. Changes nothing, and needs memory for about a
    megabyte of records, and for the ids.

    The header has the title, the metadata and the times of the session index, if the session is on one.

    One request and one command for the first 256 records, and for each megabyte that follows; one request and three
    commands for the index. Records that others append meanwhile may be included.

    Args:
        session: The conversation, from `Store.session`, or `session()` of a history.

    Raises:
        ValueError: It is no session.
        ConversationChanged: Others cleared the conversation or removed records during the export; export it again.
        RequestTooLarge: One record alone exceeds the maximum size of a reply.
        DatabaseError: Any other failure.
    """
    return stream(exported(_checked(session)))


def aexport_jsonl(session: Session[Any]) -> AsyncIterator[str]:
    """Yield lines as `export_jsonl` does, without blocking the event loop."""
    return astream(exported(_checked(session)))


def _checked(session: Session[Any]) -> Session[Any]:
    if not isinstance(session, Session):
        raise ValueError(f"session must be a Session: Store.session(…), or session() of a history; not {session!r:.80}")
    return session
