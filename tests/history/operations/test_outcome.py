"""The outcome of a write, without I/O."""

from __future__ import annotations

import pytest

from chatstash.errors import Outcome
from chatstash.history.operations import outcome as outcomes
from chatstash.history.records.record import new_record_ids
from tests.history.operations.replies import replied
from tests.rest.test_ops import play


@pytest.mark.parametrize(
    ("found", "may_still_arrive", "outcome"),
    [(1, True, Outcome.STORED), (0, True, Outcome.STILL_POSSIBLE), (0, False, Outcome.NOT_STORED)],
)
def test_the_outcome_of_a_write(found: int, may_still_arrive: bool, outcome: Outcome) -> None:
    ids = new_record_ids(2, time_ms=1, randomness=b"x" * 6)
    batch = ids[0].batch
    for marker, asked_for in ((None, ("k", batch, "")), ("m", ("k", "m", batch, ""))):
        op = outcomes.check_outcome("k", outcomes.UnresolvedWrite(batch, marker), may_still_arrive=may_still_arrive)
        result, asked = play(op, [replied([found, 1])])
        assert (result, asked[0].commands[0][3:]) == (outcome, asked_for)


def test_without_a_batch_or_a_marker_the_outcome_stays_open() -> None:
    op = outcomes.check_outcome("k", outcomes.UnresolvedWrite(), may_still_arrive=False)
    assert play(op, [])[0] is Outcome.STILL_POSSIBLE
