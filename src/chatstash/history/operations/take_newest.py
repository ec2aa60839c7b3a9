"""Removes the newest record, exactly once even if replies are lost."""

from __future__ import annotations

from collections.abc import Callable

from chatstash.errors import Applied, ConversationChanged, DatabaseError, WrongType
from chatstash.history.records.identity import digest_of
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import run_marked_script, wrong_type
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send

ATTEMPTS = 5


def take_newest(key: str, name: str, shortened: Callable[[bytes], str]) -> Op[bytes | None]:
    """Remove the newest record and return it, or None if there is none; two requests, six commands.

    Two more requests for each time that others add to the conversation in between.

    Args:
        key: The conversation's key.
        name: Unique to this call.
        shortened: Returns the text to put in the place of a record, given its bytes; empty to remove it.

    Raises:
        ConversationChanged: Others kept changing the conversation; nothing was removed.
    """
    for attempt in range(ATTEMPTS):
        newest = yield from _newest(key)
        if newest is None:
            return None
        marker = companion_key("take", key, f"{name}{attempt}")
        script = call("take_newest", (key, marker), digest_of(newest), shortened(newest), IN_FLIGHT_TTL)
        answer = yield from run_marked_script(key, marker, script)
        if checked_counts(answer, 1, Effect.WRITE) == [1]:
            return newest
    raise ConversationChanged(
        f"Others kept adding to the conversation {key!r}. Nothing was removed. Try again", applied=Applied.NO
    )


def _newest(key: str) -> Op[bytes | None]:
    try:
        replies = yield from send(Batch((("LINDEX", key, 0),)))
    except WrongType as error:
        raise wrong_type(key, "It was left as it was", error) from error.__cause__
    newest = replies.values[0]
    if isinstance(newest, DatabaseError):
        raise newest
    return newest if isinstance(newest, bytes) else None
