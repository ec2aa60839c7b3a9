"""The sessions of a store: listed, titled and deleted, for blocking callers and for asyncio.

The operations are loaded on first use: most processes only read and append.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from chatstash.history.records.encoding import encoded_metadata
from chatstash.history.records.index import MAX_TITLE, index_keys
from chatstash.history.records.keys import Owned, conversation_key, owner_of
from chatstash.history.records.record import Record
from chatstash.history.runner import Work
from chatstash.history.session import Session
from chatstash.history.steps.recent import Recent
from chatstash.history.values.options import Options, checked_whole
from chatstash.history.values.results import ClearResult
from chatstash.history.values.sessions import SessionInfo, SessionPage
from chatstash.rest.plan import utf8

if TYPE_CHECKING:
    from chatstash.history.operations.sessions import Index

T = TypeVar("T")

MAX_SESSIONS = 1000


class Unchanged:
    """The type of `UNCHANGED`."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()
"""Leaves the title or the metadata of a session as it is."""

Metadata: TypeAlias = Mapping[str, Any]


class Sessions:
    """The sessions on the indexes of a store; `Store` is one.

    A session is on an index if it has a `user_id`, or if the store has `index=True`. Without `user_id`, a method means
    the sessions of no user.
    """

    key_prefix: str
    options: Options

    @abstractmethod
    def session(self, session_id: str, *, user_id: str | None = None) -> Session[Record]:
        """Return the conversation of a session id."""

    @abstractmethod
    def indexes(self, named: Owned) -> bool:
        """Tell whether a conversation of this store is on a session index."""

    @property
    @abstractmethod
    def has_titles(self) -> bool:
        """Whether the session index stores the beginning of the first question."""

    @property
    @abstractmethod
    def _recent(self) -> Recent:
        """Keys and sessions that this process has recently seen."""

    @abstractmethod
    def run(self, work: Work[T]) -> T:
        """Run an operation."""

    @abstractmethod
    async def arun(self, work: Work[T]) -> T:
        """Run an operation without blocking the event loop."""

    def list_sessions(self, *, user_id: str | None = None, limit: int = 50, cursor: str | None = None) -> SessionPage:
        """List sessions, those with the newest messages first.

        One request, whatever the number of sessions: four commands, six for a page after the first, and a few more
        if sessions have expired since. No message is fetched. Pages are stable while others append: they miss only
        sessions that move to the top meanwhile. A read-only token takes a second request every five minutes.

        Args:
            user_id: Whose sessions; None for those of no user.
            limit: How many, at most 1,000. The page has fewer where their metadata would exceed the size of a reply,
                which takes another request each time that half as many are tried.
            cursor: The `next_cursor` of the page before; None for the first page.

        Raises:
            ValueError: An argument is invalid, or the cursor belongs to another list; nothing was sent.
            DatabaseError: The database could not be asked.
        """
        return self.run(self._listing(user_id, limit, cursor))

    async def alist_sessions(
        self, *, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> SessionPage:
        """List sessions as `list_sessions` does, without blocking the event loop."""
        return await self.arun(self._listing(user_id, limit, cursor))

    def get_session(self, session_id: str, *, user_id: str | None = None) -> SessionInfo | None:
        """Return a session as the index lists it, or None if it is not on the index; one request, three commands.

        Raises:
            ValueError: An id is invalid; nothing was sent.
            DatabaseError: The database could not be asked.
        """
        return self.run(self._getting(session_id, user_id))

    async def aget_session(self, session_id: str, *, user_id: str | None = None) -> SessionInfo | None:
        """Return a session as `get_session` does, without blocking the event loop."""
        return await self.arun(self._getting(session_id, user_id))

    def update_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        title: str | Unchanged | None = UNCHANGED,
        metadata: Metadata | Unchanged | None = UNCHANGED,
        only_if_untitled: bool = False,
    ) -> SessionInfo:
        """Set the title or the metadata of a session; its place in the list stays.

        One request: seven commands for one change, nine for two; with a ttl, eight and eleven.

        Args:
            session_id: The session.
            user_id: The user it belongs to, or None.
            title: The title, at most 1,000 characters; None to return to the automatic one.
            metadata: The application's own data, a dict of JSON values of at most 64 KB; replaces what was there. None
                removes it.
            only_if_untitled: Keep a title that was set before. For titles that a model generates.

        Returns:
            The session as it is now.

        Raises:
            ValueError: An id or the title is invalid, or nothing is to be changed; nothing was sent.
            UnstorableMessage: JSON cannot hold the metadata, or it is too large; nothing was sent.
            SessionNotFound: The session is not on the index; nothing was changed.
            DatabaseError: Any other failure.
        """
        return self.run(self._updating(session_id, user_id, (title, metadata), only_if_untitled))

    async def aupdate_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        title: str | Unchanged | None = UNCHANGED,
        metadata: Metadata | Unchanged | None = UNCHANGED,
        only_if_untitled: bool = False,
    ) -> SessionInfo:
        """Set the title or the metadata as `update_session` does, without blocking the event loop."""
        return await self.arun(self._updating(session_id, user_id, (title, metadata), only_if_untitled))

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> ClearResult:
        """Delete a conversation with its title and everything kept beside it; costs and raises as `Session.clear`."""
        return self.session(session_id, user_id=user_id).clear()

    async def adelete_session(self, session_id: str, *, user_id: str | None = None) -> ClearResult:
        """Delete a conversation as `delete_session` does, without blocking the event loop."""
        return await self.session(session_id, user_id=user_id).aclear()

    def _index(self, user_id: str | None) -> Index:
        from chatstash.history.operations.sessions import Index  # noqa: PLC0415 - as all that manages sessions

        return Index(index_keys(owner_of(self.key_prefix, user_id)), user_id, self._recent.sessions)

    def _listing(self, user_id: str | None, limit: int, cursor: str | None) -> Work[SessionPage]:
        from chatstash.history.operations import sessions  # noqa: PLC0415

        index = self._index(user_id)
        checked_whole("limit", limit, 1, MAX_SESSIONS)
        op = sessions.list_sessions(index, limit, sessions.after(index, cursor))
        return Work("list_sessions", op, self.options.retry_policy.read, index.keys.info)

    def _getting(self, session_id: str, user_id: str | None) -> Work[SessionInfo | None]:
        from chatstash.history.operations import sessions  # noqa: PLC0415

        key = conversation_key(session_id, self.key_prefix, user_id)
        op = sessions.get_session(self._index(user_id), session_id)
        return Work("get_session", op, self.options.retry_policy.read, key)

    def _updating(
        self,
        session_id: str,
        user_id: str | None,
        new: tuple[str | Unchanged | None, Metadata | Unchanged | None],
        only_if_untitled: bool,
    ) -> Work[SessionInfo]:
        from chatstash.history.operations import sessions  # noqa: PLC0415

        key = conversation_key(session_id, self.key_prefix, user_id)
        title, metadata = new
        changes = []
        if not isinstance(title, Unchanged):
            changes.append(sessions.Change("title", checked_title(title)))
        if not isinstance(metadata, Unchanged):
            changes.append(sessions.Change("metadata", encoded_metadata(metadata) if metadata else ""))
        if not changes:
            raise ValueError("nothing to change: pass title=, metadata= or both")
        op = sessions.update_session(self._index(user_id), session_id, changes, only_if_untitled=only_if_untitled)
        return Work("update_session", op, self.options.retry_policy.idempotent, key)


def checked_title(title: str | None) -> str:
    """Return a title, empty for None, or raise ValueError where it is invalid."""
    if title is None:
        return ""
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE:
        raise ValueError(
            f"title must be a string of 1 to {MAX_TITLE} characters, or None to remove it, not {title!r:.80}"
        )
    utf8(title, "title")
    return title
