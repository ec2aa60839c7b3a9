"""Names of new fields: never the same twice, and in a row where a value grows."""

from __future__ import annotations

from chatstash.threads import segments
from chatstash.threads.segments import Segment


def test_a_value_that_grows_has_its_fields_in_a_row() -> None:
    segment = Segment()
    first = segment.take_after("", 2)
    segment.take(3)
    second = segment.take_after(first[-1], 2)
    name = first[0].partition(".")[0]
    assert [*first, *second] == [f"{name}.{number}" for number in range(4)]


def test_two_values_that_continue_one_have_fields_of_their_own() -> None:
    segment = Segment()
    (last,) = segment.take_after("", 1)
    branches = [segment.take_after(last, 2) for _ in range(3)]
    assert len({field for branch in branches for field in branch} | {last}) == 7


def test_a_field_of_another_process_is_not_continued() -> None:
    (last,) = Segment().take_after("", 1)
    segment = Segment()
    assert segment.take_after(last, 1)[0].partition(".")[0] != last.partition(".")[0]
    (own,) = segment.take_after("", 1)
    segment.reset_after_fork()
    assert segment.take_after(own, 1)[0].partition(".")[0] != own.partition(".")[0]


def test_values_that_were_forgotten_are_not_continued() -> None:
    segment = Segment()
    lasts = [segment.take_after("", 1)[0] for _ in range(segments.MAX_RUNS + 1)]
    taken = {segment.take_after(last, 1)[0] for last in lasts}
    assert len(taken | set(lasts)) == 2 * len(lasts)
