"""Deletes a conversation exactly once, so a retry cannot delete later messages."""

from __future__ import annotations

from chatstash.errors import CommandRejected, OutcomeUnknown, ReadOnlyToken
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_marked_script
from chatstash.history.values.results import ClearResult
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send


def clear(key: str, name: str) -> Op[ClearResult]:
    """Delete the key of a conversation, whatever type it holds; `name` is unique to this call."""
    marker = companion_key("clear", key, name)
    try:
        return (yield from _clear_by_script(key, marker))
    except (CommandRejected, ReadOnlyToken):
        # The token may not run scripts, or the server has none: DEL is what langchain-community sends.
        return (yield from _clear_by_command(key))


def _clear_by_script(key: str, marker: str) -> Op[ClearResult]:
    script = call("clear", (key, marker), IN_FLIGHT_TTL)
    answer = yield from run_marked_script(key, marker, script)
    existed, _ = checked_counts(answer, 2, Effect.WRITE)
    return ClearResult(existed > 0)


def _clear_by_command(key: str) -> Op[ClearResult]:
    """Delete without a marker. If the reply is lost, there is no retry: it could delete what was appended since."""
    try:
        replies = yield from send(Batch((("DEL", key),), effect=Effect.WRITE))
        deleted = checked_reply(int, replies.values[0], Effect.WRITE)
    except OutcomeUnknown as error:
        error.key = key
        raise
    return ClearResult(deleted > 0)
