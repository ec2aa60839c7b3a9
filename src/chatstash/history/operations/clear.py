"""Deletes a conversation exactly once, so a retry cannot delete later messages."""

from __future__ import annotations

from chatstash.errors import CommandRejected, OutcomeUnknown, ReadOnlyToken
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key, kept_beside
from chatstash.history.scripts.loading import call_along
from chatstash.history.steps.indexing import IndexEntry
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_marked_script
from chatstash.history.values.results import ClearResult
from chatstash.rest.commands import Batch, Command, Effect
from chatstash.rest.ops import Op, send


def clear(key: str, name: str, entry: IndexEntry | None = None) -> Op[ClearResult]:
    """Delete the key of a conversation, whatever type it holds, with what is kept beside it.

    Args:
        key: The key.
        name: Unique to this call.
        entry: The conversation on the session index, or None.
    """
    marker = companion_key("clear", key, name)
    along: tuple[Command, ...] = (("DEL", *kept_beside(key)), *(() if entry is None else entry.removing()))
    try:
        return (yield from _clear_by_script(key, marker, along))
    except (CommandRejected, ReadOnlyToken):
        # The token may not run scripts, or the server has none: DEL is what langchain-community sends.
        return (yield from _clear_by_command(key, along))


def _clear_by_script(key: str, marker: str, along: tuple[Command, ...]) -> Op[ClearResult]:
    script = call_along("clear", (key, marker), along, IN_FLIGHT_TTL)
    answer = yield from run_marked_script(key, marker, script)
    existed, _ = checked_counts(answer, 2, Effect.WRITE)
    return ClearResult(existed > 0)


def _clear_by_command(key: str, along: tuple[Command, ...]) -> Op[ClearResult]:
    """Delete without a marker. If the reply is lost, there is no retry: it could delete what was appended since."""
    try:
        replies = yield from send(Batch((("DEL", key), *along), atomic=True, effect=Effect.WRITE))
        deleted = checked_reply(int, replies.values[0], Effect.WRITE)
    except OutcomeUnknown as error:
        error.key = key
        raise
    return ClearResult(deleted > 0)
