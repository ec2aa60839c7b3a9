"""The outcome of a write whose reply was lost, as an operation. Pure."""

from __future__ import annotations

from typing import NamedTuple

from chatstash.errors import Outcome
from chatstash.history.records.keys import IN_FLIGHT_TTL
from chatstash.history.scripts import appending as scripts
from chatstash.history.steps.lists import counts, run_script
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


class LostWrite(NamedTuple):
    """A write whose reply was lost.

    Attributes:
        batch: What the ids of the records it appends begin with; empty where it appends none, or they are not known.
        marker: The key it sets in the same step, or None.
        digest: What that key's value begins with if it was set for these records; empty where it does not matter.
        is_called_off: Whether its marker is set if it is not stored, so that it does nothing from then on.
    """

    batch: str = ""
    marker: str | None = None
    digest: str = ""
    is_called_off: bool = False


def check_outcome(key: str, lost: LostWrite, *, may_still_arrive: bool) -> Op[Outcome]:
    """Tell the outcome of a write; one request, at least two commands.

    Asked by a script, so that no replica answers that lags behind. A record that was appended and then trimmed or
    cleared by others counts as not there, unless a marker tells. A strict append that is not stored is called off in
    the same step: its request does nothing if it still arrives.

    Args:
        key: The conversation's key.
        lost: The write.
        may_still_arrive: Whether its request may still arrive.
    """
    if lost.marker is None and not lost.batch:
        # A clear without a marker leaves nothing to look for.
        return Outcome.STILL_POSSIBLE
    void_for = IN_FLIGHT_TTL if lost.is_called_off else None
    finding = scripts.finding(key, lost.marker, lost.batch, void_for)
    answer = yield from run_script(key, finding, Effect.IDEMPOTENT)
    (found,) = counts(answer, 1, Effect.IDEMPOTENT)
    held = answer[2] if len(answer) > 2 else None
    if isinstance(held, bytes) and (_is_void(held) or not held.startswith(lost.digest.encode())):
        return Outcome.NOT_STORED
    if found:
        return Outcome.STORED
    return Outcome.STILL_POSSIBLE if may_still_arrive and not lost.is_called_off else Outcome.NOT_STORED


def _is_void(held: bytes) -> bool:
    return held.startswith(scripts.VOID.encode())
