"""Removes the newest record, exactly once even if replies are lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chatstash.errors import Applied, ConversationChanged
from chatstash.history.operations.contents import entries_of
from chatstash.history.records.identity import digest_of
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.records.places import Place, places_key, places_of
from chatstash.history.scripts.loading import call
from chatstash.history.steps.chunks import oldest_first
from chatstash.history.steps.duplicates import remove_duplicates, suspects_at_the_end
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import list_command, run_marked_script
from chatstash.rest.commands import Command, Effect
from chatstash.rest.ops import Op

ATTEMPTS = 5

_COMPARED = 4
"""How many of the newest records are looked at for duplicates."""


def take_newest(key: str, name: str, shortened: Callable[[bytes], str]) -> Op[bytes | None]:
    """Remove the newest record and return it, or None if there is none; two requests, seven commands.

    Two more requests for each time that others add to the conversation in between, and if there may be duplicates,
    which no reader sees.

    Args:
        key: The conversation's key.
        name: Unique to this call.
        shortened: Returns the text to put in the place of a record, given its bytes; empty to remove it.

    Raises:
        ConversationChanged: Others kept changing the conversation; nothing was removed.
    """
    may_be_duplicated = True
    for attempt in range(ATTEMPTS):
        records, places = yield from _newest(key)
        suspects = suspects_at_the_end(entries_of(records, key), places) if may_be_duplicated else []
        if suspects:
            may_be_duplicated = False
            yield from remove_duplicates(key, suspects)
            records, _ = yield from _newest(key)
        if not records:
            return None
        newest = records[-1]
        marker = companion_key("take", key, f"{name}{attempt}")
        script = call("take_newest", (key, marker), digest_of(newest), shortened(newest), IN_FLIGHT_TTL)
        answer = yield from run_marked_script(key, marker, script)
        if checked_counts(answer, 1, Effect.WRITE) == [1]:
            return newest
    raise ConversationChanged(
        f"Others kept adding to the conversation {key!r}. Nothing was removed. Try again", applied=Applied.NO
    )


def _newest(key: str) -> Op[tuple[Sequence[bytes], Mapping[str, Place]]]:
    """Return the newest records, oldest first, and the noted places of batches."""
    asked: tuple[Command, Command] = (("LRANGE", key, 0, _COMPARED - 1), ("GET", places_key(key)))
    replies = yield from list_command(key, asked[0], None, Effect.READ, more=asked[1:])
    return oldest_first(replies.values[0]), places_of(replies.values[1])
