"""Lists the sessions of an index, and reads and changes one of them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from chatstash.errors import DatabaseError, ReadOnlyToken, RequestTooLarge, SessionNotFound
from chatstash.history.records.index import IndexKeys, fields_of, stored_info
from chatstash.history.scripts.loading import COUNT_INDEX, call
from chatstash.history.steps.recent import RecentKeys
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.values.sessions import SessionInfo, SessionPage
from chatstash.rest.commands import KEY_LOCKING, READING, Batch, Command, Cost, Effect, Reply
from chatstash.rest.ops import Op, send

_ONLY_READS = "the token may only read"

_CURSOR = r"([0-9]{1,17})\.([0-9a-f]{8})\.([A-Za-z0-9_-]+)"


class Index(NamedTuple):
    """A session index.

    Attributes:
        keys: Its keys.
        user_id: The user whose sessions it lists, or None.
        recent: What this process has lately seen of sessions.
    """

    keys: IndexKeys
    user_id: str | None
    recent: RecentKeys

    @property
    def digest(self) -> str:
        """A short digest, by which a cursor knows its index."""
        return sha256(self.keys.info.encode()).hexdigest()[:8]


class After(NamedTuple):
    """The last session of a page: its score and its id; empty for the first page."""

    score: str = ""
    session_id: str = ""


def after(index: Index, cursor: str | None) -> After:
    """Return what a cursor stands for, or raise ValueError."""
    if cursor is None:
        return After()
    match = re.fullmatch(_CURSOR, cursor) if isinstance(cursor, str) else None
    if match is None or match[2] != index.digest:
        why = "not a cursor" if match is None else "a cursor of another user's sessions, or of another key_prefix"
        raise ValueError(f"{why}: {cursor!r:.80}; pass the next_cursor of a page of the same list, or None")
    try:
        return After(match[1], base64.urlsafe_b64decode(match[3] + "=" * (-len(match[3]) % 4)).decode())
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"not a cursor: {cursor!r:.80}") from None


def _cursor(index: Index, score: str, session_id: str) -> str:
    return f"{score}.{index.digest}.{base64.urlsafe_b64encode(session_id.encode()).decode().rstrip('=')}"


def list_sessions(index: Index, limit: int, last: After) -> Op[SessionPage]:
    """List sessions, newest activity first; costs as `Store.list_sessions`."""
    try:
        answer = yield from _run(call("list_sessions", index.keys, limit, *last, "1"), index.recent)
    except RequestTooLarge:
        # The metadata of so many sessions exceeds the size of a reply.
        if limit == 1:
            raise
        return (yield from list_sessions(index, limit // 2, last))
    more, _ = checked_counts(answer, 2, Effect.IDEMPOTENT)
    rows = [checked_reply(list, row, Effect.IDEMPOTENT) for row in checked_reply(list, answer[2], Effect.IDEMPOTENT)]
    sessions = [_listed(index, row) for row in rows]
    cursor = _cursor(index, _text(rows[-1][1]), sessions[-1].session_id) if more and rows else None
    return SessionPage(sessions, cursor)


def _run(script: Command, recent: RecentKeys) -> Op[list[Reply]]:
    """Run a listing on the leader: a replica may lag. A token that may only read asks any replica."""
    if _ONLY_READS not in recent:
        try:
            return (yield from _answer(script, Effect.IDEMPOTENT))
        except ReadOnlyToken:
            recent.add(_ONLY_READS)
    return (yield from _answer(_only_reading(script), Effect.READ))


def _answer(script: Command, effect: Effect) -> Op[list[Reply]]:
    replies = yield from send(Batch((script,), effect=effect, command_count_index=COUNT_INDEX))
    return checked_reply(list, replies.values[0], effect)


def _only_reading(script: Command) -> Command:
    _, text, *words = script
    return ("EVAL_RO", READING + str(text).removeprefix(KEY_LOCKING), *words[:-1], "")


class Members(NamedTuple):
    """Some of the sessions of an index, the cursor for more, None after the last, and the cost."""

    session_ids: list[str]
    cursor: str | None
    cost: Cost = Cost()


def members_of(keys: IndexKeys, cursor: str) -> Op[Members]:
    """Return sessions of an index, in no order and perhaps more than once; one request, two commands.

    https://redis.io/docs/latest/commands/zscan/
    """
    lasting, _, expiring = cursor.partition(",")
    cursors = {keys.lasting: lasting, keys.expiring: expiring or lasting}
    asked = [("ZSCAN", key, at, "COUNT", 1000) for key, at in cursors.items() if at != "-"]
    replies = yield from send(Batch(tuple(asked)))
    following, found = dict.fromkeys(cursors, "-"), []
    for command, reply in zip(asked, replies.values, strict=True):
        at, members = checked_reply(list, reply, Effect.READ)
        following[str(command[1])] = _text(at) if _text(at) != "0" else "-"
        found += [_text(member) for member in checked_reply(list, members, Effect.READ)[::2]]
    cursors_left = ",".join(following.values())
    return Members(found, None if cursors_left == "-,-" else cursors_left)


def get_session(index: Index, session_id: str) -> Op[SessionInfo | None]:
    """Return a session of an index, or None; one request, three commands."""
    keys = index.keys
    asked: tuple[Command, ...] = (
        ("ZSCORE", keys.lasting, session_id), ("ZSCORE", keys.expiring, session_id),
        ("HMGET", keys.info, *fields_of(session_id)),
    )  # fmt: skip
    replies = yield from send(Batch(asked))
    for reply in replies.values:
        if isinstance(reply, DatabaseError):
            raise reply
    return _info(index, session_id, replies.values)


class Change(NamedTuple):
    """A change of a title or of metadata, as the script takes it; an empty value removes it."""

    of: str = ""
    value: str = ""


def update_session(
    index: Index, session_id: str, changes: Sequence[Change], *, only_if_untitled: bool
) -> Op[SessionInfo]:
    """Change at most two things of a session; one request, ten commands for one change."""
    title, metadata = [*changes, Change(), Change()][:2]
    script = call("update_session", index.keys, session_id, "1" if only_if_untitled else "", *title, *metadata)
    answer = yield from _answer(script, Effect.IDEMPOTENT)
    (found,) = checked_counts(answer, 1, Effect.IDEMPOTENT)
    info = _info(index, session_id, answer[2:5]) if found else None
    if info is None:
        raise SessionNotFound(session_id, index.user_id)
    return info


def _info(index: Index, session_id: str, found: Sequence[Reply]) -> SessionInfo | None:
    """Return a session, given its scores in both sorted sets and the values of its fields."""
    lasting, expiring, values = found
    scores = [_text(score) for score in (lasting, expiring) if isinstance(score, bytes)]
    score = str(max((int(float(score)) for score in scores), default=0))
    return _session(index, session_id, score, checked_reply(list, values, Effect.READ)) if scores else None


def _listed(index: Index, row: Sequence[Reply]) -> SessionInfo:
    session_id, score, *values = row
    session = _session(index, _text(session_id), _text(score), values)
    assert session is not None  # the script leaves expired ones out
    return session


def _session(index: Index, session_id: str, score: str, values: Sequence[Any]) -> SessionInfo | None:
    info = stored_info([*values, None, None, None, None][:4])
    if info is None:
        return None
    updated = int(float(score)) // 1000
    return SessionInfo(session_id, index.user_id, info.title, info.created_ms, updated, info.metadata)


def _text(reply: Reply) -> str:
    return checked_reply(bytes, reply, Effect.READ).decode(errors="replace")
