"""Brings the session index up to date for conversations that are stored, or gone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chatstash.errors import DatabaseError, RequestTooLarge, WrongType
from chatstash.history.operations.contents import entries_of
from chatstash.history.records.index import BEGUN, BEGUN_UNTITLED, automatic_title, beginning, index_keys
from chatstash.history.records.keys import Owned
from chatstash.history.records.record import Record
from chatstash.history.scripts.loading import COUNT_INDEX, call
from chatstash.history.steps.chunks import oldest_first
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.rest.commands import Batch, Command, Cost, Effect, Reply
from chatstash.rest.ops import Op, send

_OLDEST = 4
"""How many of the oldest records are read: the first question is among them."""


class Outline(NamedTuple):
    """What the records of a conversation tell of the session.

    Attributes:
        created_ms: When it began, in milliseconds since the epoch; None if no record tells.
        updated_ms: When messages were last added; None if no record tells.
        title: The beginning of its first question; empty where there is none.
    """

    created_ms: int | None = None
    updated_ms: int | None = None
    title: str = ""


class Outlines(NamedTuple):
    """The outline of each conversation that exists and is a list, by key, and the cost of reading them."""

    by_key: Mapping[str, Outline]
    cost: Cost = Cost()


def read_outlines(keys: Sequence[str]) -> Op[Outlines]:
    """Read the outlines of conversations; one request, two commands for each, more requests if records are large."""
    if not keys:
        return Outlines({})
    commands = [command for key in keys for command in (("LRANGE", key, -_OLDEST, -1), ("LINDEX", key, 0))]
    try:
        replies = yield from send(Batch(tuple(commands)))
    except RequestTooLarge:
        return (yield from _read_in_halves(keys))
    if any(isinstance(reply, RequestTooLarge) for reply in replies.values):
        return (yield from _read_in_halves(keys))
    pairs = zip(keys, replies.values[::2], replies.values[1::2], strict=True)
    outlines = {key: _outline(oldest, newest) for key, oldest, newest in pairs}
    return Outlines({key: outline for key, outline in outlines.items() if outline is not None})


def _read_in_halves(keys: Sequence[str]) -> Op[Outlines]:
    if len(keys) == 1:
        return Outlines({keys[0]: Outline()})
    half = len(keys) // 2
    first = yield from read_outlines(keys[:half])
    second = yield from read_outlines(keys[half:])
    return Outlines({**first.by_key, **second.by_key})


def _outline(oldest: Reply, newest: Reply) -> Outline | None:
    for reply in (oldest, newest):
        if isinstance(reply, WrongType):
            return None
        if isinstance(reply, DatabaseError):
            raise reply
    stored = oldest_first(oldest)
    if not stored:
        return None
    last = [newest] if isinstance(newest, bytes) else []
    records = [entry for entry in entries_of([*stored, *last], "") if isinstance(entry, Record)]
    times = [record.time_ms for record in records if record.time_ms is not None]
    first = [entry for entry in entries_of(stored, "") if isinstance(entry, Record)]
    return Outline(min(times, default=None), max(times, default=None), automatic_title(first))


class Indexed(NamedTuple):
    """How many conversations were listed, and how many taken off, by one request; and its cost."""

    listed: int
    dropped: int
    cost: Cost = Cost()


def index_sessions(sessions: Mapping[Owned, Outline | None], lifetime: int, *, has_titles: bool) -> Op[Indexed]:
    """List conversations that exist, and take off those that do not; one request, six to eight commands for each.

    Args:
        sessions: The outline of each; None only to take it off if it is gone.
        lifetime: Seconds the index of expiring sessions lives.
        has_titles: Whether the first question becomes the title.
    """
    if not sessions:
        return Indexed(0, 0)
    commands = [_indexing(named, outline, lifetime, has_titles=has_titles) for named, outline in sessions.items()]
    replies = yield from send(Batch(tuple(commands), effect=Effect.IDEMPOTENT, command_count_index=COUNT_INDEX))
    statuses = []
    for reply in replies.values:
        if isinstance(reply, DatabaseError):
            raise reply
        statuses += checked_counts(checked_reply(list, reply, Effect.IDEMPOTENT), 1, Effect.IDEMPOTENT)
    return Indexed(statuses.count(1), statuses.count(-1))


def _indexing(named: Owned, outline: Outline | None, lifetime: int, *, has_titles: bool) -> Command:
    keys = (named.key, *index_keys(named.owner))
    if outline is None:
        return call("index_session", keys, named.session_id, "", "", "", "", lifetime)
    created, updated, title = outline
    now = time.time_ns() // 1_000_000
    score = (now if updated is None else min(updated, now)) * 1000
    letter = BEGUN if title and has_titles else BEGUN_UNTITLED
    begun = beginning(now if created is None else min(created, now), title if has_titles else "")
    how = "NX" if updated is None else "GT"
    return call("index_session", keys, named.session_id, score, how, letter, begun, lifetime)
