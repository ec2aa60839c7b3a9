"""What became of a write whose reply was lost, as an operation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.errors import Outcome
from chatstash.history import scripts
from chatstash.history.lists import counts, run_script
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


def settle(key: str, rids: Sequence[object], marker: str | None, *, on_its_way: bool) -> Op[Outcome]:
    """Tell what became of a write; one request, at least two commands.

    Asked by a script, so that no replica answers that lags behind. A record that was appended and then trimmed or
    cleared by others counts as not there, except with an idempotency key.

    Args:
        key: The conversation's key.
        rids: The ids of the records it appends, or none.
        marker: The key it sets in the same step, or None.
        on_its_way: Whether its request may still arrive.
    """
    # The id is looked for with its quotation marks: within a message's text they would be escaped.
    asked = scripts.existing(marker) if marker else scripts.finding(key, f'"{rids[-1]}"')
    answer, _ = yield from run_script(key, asked, Effect.IDEMPOTENT)
    (found,) = counts(answer, 1, Effect.IDEMPOTENT)
    if found:
        return Outcome.STORED
    return Outcome.STILL_POSSIBLE if on_its_way else Outcome.NOT_STORED
