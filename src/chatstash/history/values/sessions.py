"""The sessions of an index, and the results of managing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from chatstash.rest.commands import Cost


class SessionInfo(NamedTuple):
    """A session as the index lists it.

    Attributes:
        session_id: Its id.
        user_id: The user it belongs to, or None.
        title: The title that was set, else the beginning of its first question; None if there is neither.
        created_at: When it began, in milliseconds since the epoch, by the writer's clock.
        updated_at: When messages were last added, in milliseconds since the epoch, by the writer's clock.
        metadata: The application's own data.
    """

    session_id: str
    user_id: str | None
    title: str | None
    created_at: int
    updated_at: int
    metadata: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return self._asdict()


class SessionPage(NamedTuple):
    """A page of a list of sessions.

    Attributes:
        sessions: The sessions, newest activity first.
        next_cursor: Where the next page begins; None after the last session.
        cost: Requests, commands and bytes of the operation.
    """

    sessions: list[SessionInfo]
    next_cursor: str | None
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        sessions = [session.to_dict() for session in self.sessions]
        return {"sessions": sessions, "next_cursor": self.next_cursor, "cost": self.cost.to_dict()}


class MoveResult(NamedTuple):
    """The result of forking, renaming or adopting a session.

    Attributes:
        session_id: The id of the new session.
        user_id: The user it belongs to, or None.
        length: How many records it has.
        cost: Requests, commands and bytes of the operation.
    """

    session_id: str
    user_id: str | None
    length: int
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "cost": self.cost.to_dict()}


class ScanEstimate(NamedTuple):
    """The expected cost of a scan.

    Attributes:
        keys: How many keys the database has: each is looked at.
        requests: About how many requests the scan takes; each is one command.
    """

    keys: int
    requests: int


class ScannedSession(NamedTuple):
    """A conversation that a scan found.

    Attributes:
        session_id: Its session id.
        user_id: The user it belongs to, or None.
        key: Its key.
    """

    session_id: str
    user_id: str | None
    key: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return self._asdict()


class Progress(NamedTuple):
    """The progress of a long operation.

    Attributes:
        scanned: About how many keys were looked at; at the end, at least `total`.
        total: How many keys there were when it began; it looks at each, perhaps more than once.
        found: How many conversations were handled so far.
    """

    scanned: int
    total: int
    found: int


OnEstimate: TypeAlias = Callable[[ScanEstimate], object]
OnProgress: TypeAlias = Callable[[Progress], object]


class Erased(NamedTuple):
    """The result of erasing a user.

    Attributes:
        session_ids: The conversations.
        keys: How many keys, those of conversations included.
        cost: Requests, commands and bytes of the operation.
    """

    session_ids: list[str]
    keys: int
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "cost": self.cost.to_dict()}


class ReindexResult(NamedTuple):
    """The result of bringing the session indexes up to date.

    Attributes:
        listed: How many conversations are on an index now.
        dropped: How many sessions were removed because their conversation is gone.
        cost: Requests, commands and bytes of the operation.
    """

    listed: int
    dropped: int
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**self._asdict(), "cost": self.cost.to_dict()}
