"""The commands that keep a conversation on the session index, in the request that appends or reads it.

The first append of a conversation that this process sends within five minutes writes the session's whole entry. Later
ones only move it to the top and restart its expiry. The replies tell if others removed it meanwhile; then the whole
entry is written again, in one more request.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from chatstash.errors import DatabaseError
from chatstash.frozen import dataclass
from chatstash.history.records.index import BEGUN, BEGUN_UNTITLED, METADATA, TITLE, IndexKeys, beginning, fields_of
from chatstash.history.steps.recent import LATELY, RecentKeys
from chatstash.rest.commands import Batch, Command, Effect, Replies, Reply
from chatstash.rest.ops import Op, intercept, send

T = TypeVar("T")

_YEAR = 365 * 86_400

_log = logging.getLogger("chatstash")


@dataclass(frozen=True)
class IndexEntry:
    """A session on an index.

    Attributes:
        keys: The index.
        session_id: The session.
        index_ttl: Seconds the index lives after the last append: the store's ttl; None for ever.
        has_titles: Whether the first question becomes the title.
        recent: The sessions whose whole entry this process has recently written.
    """

    keys: IndexKeys
    session_id: str
    index_ttl: int | None
    has_titles: bool
    recent: RecentKeys

    def is_recent(self, *, with_title: bool) -> bool:
        """Tell whether this process has recently written the whole entry, with a title if there is one."""
        return self._name(True) in self.recent or (not with_title and self._name(False) in self.recent)

    def note_recent(self, *, with_title: bool) -> None:
        """Note that this process has written the whole entry."""
        self.recent.add(self._name(with_title))

    def forget(self) -> None:
        """Note that others may have taken the session off the index."""
        self.recent.discard(self._name(True))
        self.recent.discard(self._name(False))

    def _name(self, with_title: bool) -> str:
        """Return a name that no other session of the database has."""
        return f"{self.keys.info} {BEGUN if with_title else BEGUN_UNTITLED}{self.session_id}"

    def sorted_set(self, ttl: int | None) -> str:
        """Return the key of the sorted set, given the session's ttl."""
        return self.keys.lasting if ttl is None else self.keys.expiring

    def lifetime(self, ttl: int | None) -> int:
        """Return the seconds that the index of expiring sessions lives, given the session's ttl."""
        return index_lifetime(self.index_ttl, ttl)

    def noting(self, ttl: int | None, activity: Activity) -> Noting:
        """Return the commands that note an append, given the session's ttl in seconds."""
        moving: Command = ("ZADD", self.sorted_set(ttl), "GT", activity.time_us, self.session_id)
        whole = not self.is_recent(with_title=bool(activity.title))
        commands = (moving, *(self._beginning(ttl, activity) if whole else ()), *self._refreshing_fields(ttl))
        return Noting(self, ttl, activity, commands, whole)

    def noting_all(self, ttl: int | None, activity: Activity) -> Noting:
        """Return the commands that note an append and write the whole entry."""
        self.forget()
        return self.noting(ttl, activity)

    def _beginning(self, ttl: int | None, activity: Activity) -> tuple[Command, ...]:
        letter = BEGUN if activity.title else BEGUN_UNTITLED
        began = activity.time_us // 1000 if activity.began_ms is None else activity.began_ms
        begun: Command = ("HSETNX", self.keys.info, letter + self.session_id, beginning(began, activity.title))
        return (*self._refreshing_index(ttl), begun)

    def describing(self, ttl: int | None, description: Description) -> tuple[Command, ...]:
        """Return the commands that set the title and the metadata of a session that was just noted."""
        given = ((TITLE, description.title), (METADATA, description.metadata))
        values = [word for letter, value in given if value for word in (letter + self.session_id, value)]
        return (("HSET", self.keys.info, *values), *self._refreshing_fields(ttl)) if values else ()

    def refreshing(self, ttl: int) -> tuple[Command, ...]:
        """Return the commands that restart the expiry of a session that is read."""
        index = () if self.is_recent(with_title=False) else self._refreshing_index(ttl)
        return (*index, *self._refreshing_fields(ttl))

    def _refreshing_index(self, ttl: int | None) -> tuple[Command, ...]:
        return () if ttl is None else (("EXPIRE", self.keys.expiring, self.lifetime(ttl)),)

    def _refreshing_fields(self, ttl: int | None) -> tuple[Command, ...]:
        fields = fields_of(self.session_id)
        return () if ttl is None else (("HEXPIRE", self.keys.info, ttl, "FIELDS", len(fields), *fields),)

    def removing(self) -> tuple[Command, ...]:
        """Return the commands that take the session off the index."""
        return (
            ("ZREM", self.keys.lasting, self.session_id),
            ("ZREM", self.keys.expiring, self.session_id),
            ("HDEL", self.keys.info, *fields_of(self.session_id)),
        )


def index_lifetime(index_ttl: int | None, ttl: int | None = None) -> int:
    """Return the seconds that the index of expiring sessions lives after an append.

    Args:
        index_ttl: The store's ttl.
        ttl: The session's, where the store has none.
    """
    # Sessions with ttls of their own share an index: none may cut short the life of another.
    return (index_ttl or max(ttl or 0, _YEAR)) + int(LATELY)


class Description(NamedTuple):
    """The description that an application gives a session.

    Attributes:
        title: Its title; empty for none.
        metadata: The application's own data as JSON; empty for none.
        created_ms: When it began, in milliseconds since the epoch; None if its records tell.
        updated_ms: When messages were last added; None if its records tell.
    """

    title: str = ""
    metadata: str = ""
    created_ms: int | None = None
    updated_ms: int | None = None


NO_DESCRIPTION = Description()


class Activity(NamedTuple):
    """An append, as the index notes it.

    Attributes:
        time_us: When it was made, in microseconds since the epoch.
        title: The title that it gives a session that has none; empty for none.
        began_ms: When the session began, in milliseconds since the epoch; None for the time of the append.
    """

    time_us: int
    title: str
    began_ms: int | None = None


@dataclass(frozen=True)
class Noting:
    """The commands that note an append on the index.

    Attributes:
        entry: The session.
        ttl: Its ttl.
        activity: The append.
        commands: The commands.
        is_whole: Whether they write the whole entry.
    """

    entry: IndexEntry
    ttl: int | None
    activity: Activity
    commands: tuple[Command, ...]
    is_whole: bool

    def finish(self, replies: Sequence[Reply]) -> Op[bool]:
        """Check the replies to the commands, and complete what is missing; returns whether the session is listed."""
        if self._failed(replies):
            return False
        if self.is_whole:
            self.entry.note_recent(with_title=bool(self.activity.title))
            return True
        return True if self._is_known(replies) else (yield from self._note_all())

    def finish_unseen(self) -> Op[bool]:
        """Complete what may be missing, where the replies to the commands were lost."""
        return True if self.is_whole else (yield from self._note_all())

    def _is_known(self, replies: Sequence[Reply]) -> bool:
        """Tell whether the session was on the index: in the sorted set, and one of its fields in the hash."""
        was_added, *fields = replies
        return was_added != 1 and (not fields or (isinstance(fields[0], list) and 1 in fields[0]))

    def _note_all(self) -> Op[bool]:
        whole = self.entry.noting_all(self.ttl, self.activity)
        try:
            replies = yield from send(Batch(whole.commands, atomic=True, effect=Effect.IDEMPOTENT))
        except DatabaseError as error:
            replies = Replies((error,))
        return (yield from whole.finish(replies.values))

    def note_failure(self, error: DatabaseError) -> None:
        """Log that the index was not updated: the messages are stored."""
        self.entry.forget()
        _log.warning(
            "The messages of session %r were stored, but the session index was not updated. %s%s",
            self.entry.session_id, error, "" if self.ttl is None else _HEXPIRE_HINT,
        )  # fmt: skip

    def _failed(self, replies: Sequence[Reply]) -> bool:
        """Tell whether a command failed, and log that: the messages are stored."""
        failed = next((reply for reply in replies if isinstance(reply, DatabaseError)), None)
        if failed is not None:
            self.note_failure(failed)
        return failed is not None


_HEXPIRE_HINT = " With a ttl, the session index needs HEXPIRE: Upstash has it, Redis since 7.4, Valkey since 9."


def refreshing_index(op: Op[T], key: str, entry: IndexEntry) -> Op[T]:
    """Run an operation that reads a conversation; where it restarts the ttl, the session stays on the index as long."""
    return intercept(op, partial(_refreshed, key=key, entry=entry))


def _refreshed(batch: Batch, key: str, entry: IndexEntry) -> Op[Replies]:
    *commands, last = batch.commands
    if batch.writes and last[:2] == ("EXPIRE", key) and isinstance(ttl := last[2], int):
        more = entry.refreshing(ttl)
        replies = yield Batch((*commands, *more, last), batch.atomic, batch.effect)
        values = replies.values
        # A read is not refused because its session could not be kept on the index.
        return replies._replace(values=(*values[: len(commands)], values[-1]))
    return (yield batch)
