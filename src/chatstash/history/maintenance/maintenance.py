"""The maintenance of a store's sessions: scans, erasure, exports, the upkeep of the session index; in both colours.

The workflows are loaded on first use: most processes only read and append.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from chatstash.history.records.keys import owner_of
from chatstash.history.sessions import Sessions
from chatstash.history.values.sessions import (
    Erased,
    MoveResult,
    OnEstimate,
    OnProgress,
    ReindexResult,
    ScannedSession,
)


class Maintenance(Sessions):
    """Long operations on the sessions of a store; `Store` has them."""

    def scan_sessions(self, match: str = "*", *, on_estimate: OnEstimate | None = None) -> Iterator[ScannedSession]:
        """Yield all conversations under the store's prefix, on an index or not, those of other libraries included.

        Looks at every key of the database: one request and one command for each 1,000 keys, and one before. A
        conversation that is created or deleted meanwhile may be missed. A token that may only read cannot scan.

        Args:
            match: A glob pattern for the part of the key after the prefix, such as `user-*`, as Redis's SCAN takes it.
            on_estimate: Called before the scan with its cost; an error that it raises stops the scan. The cost is also
                logged, at level INFO.

        Raises:
            ValueError: The pattern is no string; nothing was sent.
            DatabaseError: The database could not be asked.
        """
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.scanning import scan_sessions  # noqa: PLC0415

        return calls.stream(scan_sessions(self, _checked_pattern(match), on_estimate))

    def ascan_sessions(
        self, match: str = "*", *, on_estimate: OnEstimate | None = None
    ) -> AsyncIterator[ScannedSession]:
        """Yield conversations as `scan_sessions` does, without blocking the event loop."""
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.scanning import scan_sessions  # noqa: PLC0415

        return calls.astream(scan_sessions(self, _checked_pattern(match), on_estimate))

    def delete_user(self, user_id: str, *, on_progress: OnProgress | None = None) -> Erased:
        """Erase a user: all conversations, drafts, alternatives, quarantines, markers, and the index.

        Looks at every key of the database, so that nothing is overlooked, not even what outlived its conversation. For
        each 1,000 keys: two requests and three commands. If it is interrupted, run it again. Stop the user's requests
        first: what they store meanwhile may stay. Threads and items of LangGraph stay: `UpstashRedisSaver.delete_user`
        deletes threads.

        Args:
            user_id: The user.
            on_progress: Called after each page of keys.

        Raises:
            ValueError: The user id is invalid; nothing was sent.
            ReadOnlyToken: The token may not scan; nothing was deleted.
            DatabaseError: Any other failure; what was found so far is deleted.
        """
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.users import erase_user  # noqa: PLC0415

        self._check_user(user_id)
        return calls.run(erase_user(self, user_id, on_progress))

    async def adelete_user(self, user_id: str, *, on_progress: OnProgress | None = None) -> Erased:
        """Erase a user as `delete_user` does, without blocking the event loop."""
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.users import erase_user  # noqa: PLC0415

        self._check_user(user_id)
        return await calls.arun(erase_user(self, user_id, on_progress))

    def export_user(self, user_id: str) -> Iterator[str]:
        """Yield everything that a user's conversations hold, as JSON Lines: a header and a line for each message.

        `chatstash.transfer.import_jsonl` reads them back. Sessions with the newest messages come first. One request for
        each 100 sessions, two if there are more than 100, and one or more for each conversation. Drafts and
        alternatives are not exported.

        Args:
            user_id: The user.

        Raises:
            ValueError: The user id is invalid; nothing was sent.
            DatabaseError: The database could not be asked.
        """
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.users import export_user  # noqa: PLC0415

        self._check_user(user_id)
        return calls.stream(export_user(self, user_id))

    def aexport_user(self, user_id: str) -> AsyncIterator[str]:
        """Yield lines as `export_user` does, without blocking the event loop."""
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.users import export_user  # noqa: PLC0415

        self._check_user(user_id)
        return calls.astream(export_user(self, user_id))

    def adopt(self, session_id: str, user_id: str) -> MoveResult:
        """Move a conversation of no user to a user, in one atomic step, with its title, alternatives and draft.

        Its records keep their ids and times. Two requests: two commands, and sixteen to eighteen; four to six more if
        it has alternatives, a draft or a quarantine.

        Args:
            session_id: The conversation, which has no user; it keeps its session id.
            user_id: The user.

        Raises:
            ValueError: An id is invalid; nothing was sent.
            SessionNotFound: There is no such conversation; nothing was changed.
            ConversationExists: The user has a session with that id; nothing was changed.
            DatabaseError: Any other failure; its `applied` says whether the conversation was moved.
        """
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.indexes import adopt  # noqa: PLC0415

        self._check_user(user_id)
        return calls.run(adopt(self, session_id, user_id))

    async def aadopt(self, session_id: str, user_id: str) -> MoveResult:
        """Move a conversation as `adopt` does, without blocking the event loop."""
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.indexes import adopt  # noqa: PLC0415

        self._check_user(user_id)
        return await calls.arun(adopt(self, session_id, user_id))

    def reindex(self, *, on_progress: OnProgress | None = None) -> ReindexResult:
        """Bring the session indexes up to date: for conversations stored without one, and those deleted by others.

        Lists the conversations of users and, if the store has `index=True`, all others: from their first and last
        records and their expiry. Titles that were set stay. Sessions whose conversation is gone are removed. Running
        it again changes nothing; if it is interrupted, run it again.

        Looks at every key of the database: one request and three commands for each 1,000 keys, three requests and 900
        to 1,100 commands for each 100 conversations, and a request of two commands for each index.

        Args:
            on_progress: Called after each page of keys.

        Raises:
            ReadOnlyToken: The token may not scan; nothing was changed.
            DatabaseError: Any other failure; what was found so far is listed.
        """
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.indexes import reindex  # noqa: PLC0415

        return calls.run(reindex(self, on_progress))

    async def areindex(self, *, on_progress: OnProgress | None = None) -> ReindexResult:
        """Bring the session indexes up to date as `reindex` does, without blocking the event loop."""
        from chatstash import calls  # noqa: PLC0415
        from chatstash.history.maintenance.indexes import reindex  # noqa: PLC0415

        return await calls.arun(reindex(self, on_progress))

    def _check_user(self, user_id: str) -> None:
        """Raise ValueError where a user id is invalid; None means no user, whose data nobody may erase as one."""
        if not isinstance(user_id, str) or not user_id:
            raise ValueError(f"user_id must be a non-empty string, not {user_id!r:.80}")
        owner_of(self.key_prefix, user_id)


def _checked_pattern(match: str) -> str:
    if not isinstance(match, str) or not match:
        raise ValueError(f"match must be a glob pattern such as 'user-*', not {match!r:.80}")
    return match
