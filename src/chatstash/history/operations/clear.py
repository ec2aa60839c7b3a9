"""Clearing, as an operation: once, whatever is lost on the way, so that it never takes what came after. Pure."""

from __future__ import annotations

from chatstash.errors import CommandRejected, OutcomeUnknown, ReadOnlyToken
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.results import ClearResult
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_script
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send


def clear(key: str, name: str) -> Op[ClearResult]:
    """Delete a conversation, once; one request, three commands, or four where there was none.

    Does not look at what the key holds. A marker set in the same step tells a repetition, and the first request where
    that comes late, that it was done: it would delete what others appended since.

    Args:
        key: The conversation's key.
        name: What tells this clearing from any other.

    Raises:
        OutcomeUnknown: The reply was lost, and asking again failed until the budget was used up.
    """
    marker = companion_key("clear", key, name)
    try:
        return (yield from _clear_by_script(key, marker))
    except OutcomeUnknown as error:
        error.key, error.marker = key, marker
        raise
    except (CommandRejected, ReadOnlyToken):
        # A token that may run no scripts, or a server that has none: what the old class did still does.
        return (yield from _clear_by_command(key))


def _clear_by_script(key: str, marker: str) -> Op[ClearResult]:
    script = call("clear", (key, marker), IN_FLIGHT_TTL)
    answer = yield from run_script(key, script, Effect.WRITE, lambda: script)
    existed, _ = checked_counts(answer, 2, Effect.WRITE)
    return ClearResult(existed > 0)


def _clear_by_command(key: str) -> Op[ClearResult]:
    """Delete without a marker; where the reply is lost, it is not sent again, for it could delete what came after."""
    try:
        replies = yield from send(Batch((("DEL", key),), effect=Effect.WRITE))
        deleted = checked_reply(int, replies.values[0], Effect.WRITE)
    except OutcomeUnknown as error:
        error.key = key
        raise
    return ClearResult(deleted > 0)
