"""What became of a write whose reply was lost, as an operation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.errors import Outcome
from chatstash.history import scripts
from chatstash.history.lists import counts, run_script
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


def settle(key: str, rids: Sequence[object], marker: str | None, digest: str, *, on_its_way: bool) -> Op[Outcome]:
    """Tell what became of a write; one request, at least two commands.

    Asked by a script, so that no replica answers that lags behind. A record that was appended and then trimmed or
    cleared by others counts as not there, except with an idempotency key that is remembered.

    Args:
        key: The conversation's key.
        rids: The ids of the records it appends, or none.
        marker: The key it sets in the same step, or None.
        digest: What that key's value begins with where it was set for these records; empty where it does not matter.
        on_its_way: Whether its request may still arrive.
    """
    if marker is None and not rids:
        # A clear without a marker leaves nothing to look for.
        return Outcome.STILL_POSSIBLE
    # With its name and quotation marks: within a message's text they would be escaped.
    text = f'"rid":"{rids[-1]}"' if rids else ""
    answer, _ = yield from run_script(key, scripts.finding(key, marker, text), Effect.IDEMPOTENT)
    (found,) = counts(answer, 1, Effect.IDEMPOTENT)
    held = answer[2] if len(answer) > 2 else None
    if isinstance(held, bytes) and not held.startswith(digest.encode()):
        return Outcome.NOT_STORED
    if found:
        return Outcome.STORED
    return Outcome.STILL_POSSIBLE if on_its_way else Outcome.NOT_STORED
