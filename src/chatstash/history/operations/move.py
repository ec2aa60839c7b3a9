"""Copies and moves whole conversations on the server, in one atomic step; records keep their ids and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.errors import ConversationExists, MessageNotFound, SessionNotFound
from chatstash.history.records.index import IndexKeys
from chatstash.history.records.keys import IN_FLIGHT_TTL, Owned, companion_key, kept_beside
from chatstash.history.records.message_id import Named
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import run_marked_script
from chatstash.history.values.sessions import MoveResult
from chatstash.rest.commands import Argument, Effect
from chatstash.rest.ops import Op


class Listing(NamedTuple):
    """How the new session is listed.

    Attributes:
        keys: The index of the source and that of the new session; None without an index.
        lifetime: Seconds the index of expiring sessions lives.
        score: The time of its last append, in microseconds since the epoch.
        begun: Its beginning, if the index does not have the source.
        created: When it began, in milliseconds since the epoch. Empty to take score and beginning from the source, if
            the index has it.
    """

    keys: tuple[IndexKeys, IndexKeys] | None
    lifetime: int
    score: int
    begun: str
    created: str

    def words(self, source: Owned, session: Owned) -> tuple[Argument, ...]:
        """Return the arguments of a script."""
        return (source.session_id, session.session_id, self.score, self.lifetime, self.begun, self.created)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """The keys of both indexes."""
        return () if self.keys is None else (*self.keys[0], *self.keys[1])


class Move(NamedTuple):
    """A conversation, and the session that it is copied or moved to.

    Attributes:
        name: Unique to this call.
        source: The conversation.
        session: The new session.
        listing: How that is listed.
    """

    name: str
    source: Owned
    session: Owned
    listing: Listing


def fork(move: Move, upto: Named | None, ttl: int | None) -> Op[MoveResult]:
    """Copy a conversation, or its records up to one."""
    source, session = move.source.key, move.session.key
    marker = companion_key("edit", source, move.name)
    cut = ("", "") if upto is None else upto.words
    words = ("" if ttl is None else ttl, *cut, *move.listing.words(move.source, move.session))
    missing = _missing(move) if upto is None else MessageNotFound(upto.id, source)
    return (yield from _run(move, "fork", (source, session, marker, *kept_beside(session)), words, missing))


def rename(move: Move) -> Op[MoveResult]:
    """Move a conversation and what is kept beside it."""
    source, session = move.source.key, move.session.key
    marker = companion_key("edit", source, move.name)
    beside = [key for pair in zip(kept_beside(source), kept_beside(session), strict=True) for key in pair]
    words = move.listing.words(move.source, move.session)
    return (yield from _run(move, "move", (source, session, marker, *beside), words, _missing(move)))


def _run(move: Move, script: str, keys: Sequence[str], words: Sequence[Argument], missing: Exception) -> Op[MoveResult]:
    command = call(script, (*keys, *move.listing.all_keys), IN_FLIGHT_TTL, *words)
    answer = yield from run_marked_script(move.source.key, keys[2], command)
    done, _, length = checked_counts(answer, 3, Effect.WRITE)
    if not done:
        raise ConversationExists(move.session.key) if length == 2 else missing
    return MoveResult(move.session.session_id, move.session.user_id, length)


def _missing(move: Move) -> SessionNotFound:
    return SessionNotFound(move.source.session_id, move.source.user_id)
