"""Clearing, as an operation: once, whatever is lost on the way, so that it never takes what came after. Pure."""

from __future__ import annotations

from chatstash.errors import OutcomeUnknown
from chatstash.history import scripts
from chatstash.history.keys import companion_key
from chatstash.history.lists import counts, run_script
from chatstash.history.results import ClearResult
from chatstash.rest.commands import Cost, Effect
from chatstash.rest.ops import Op

MARKER_TTL = 3600
"""Seconds for which it is remembered that a clear was carried out: longer than any request is on its way."""


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
    script = scripts.clearing(key, marker, MARKER_TTL)
    try:
        answer, cost = yield from run_script(key, script, Effect.WRITE, script)
        existed, ran = counts(answer, 2, Effect.WRITE)
    except OutcomeUnknown as error:
        error.key, error.marker = key, marker
        raise
    return ClearResult(existed > 0, cost + Cost(commands=ran))
