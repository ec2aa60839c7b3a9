"""Reading slice by slice, without I/O: what is asked for, and what happens if others change the conversation."""

from __future__ import annotations

import pytest

from chatstash.errors import ConversationChanged, RequestTooLarge
from chatstash.history.operations.slices import Slice, SlicePlace, read_slice
from chatstash.history.records.record import RecordId
from chatstash.rest.ops import Op
from tests.history.operations.replies import replied
from tests.rest.test_ops import play

ALL = [
    f'{{"type":"human","data":{{}},"rid":"{RecordId("AAAAAAPoAAAAAAAA", number, 10)}"}}'.encode()
    for number in range(10)
]
FOREIGN = b'{"type":"human","data":{}}'


def _newest_first(raws: list[bytes]) -> object:
    return replied(raws[::-1])


def _asked(op: Op[Slice], answers: list[object]) -> tuple[Slice, list[tuple[int, int]]]:
    result, batches = play(op, answers)
    return result, [batch.commands[0][2:] for batch in batches]


def test_the_slice_after_the_last_record_is_none() -> None:
    found, asked = _asked(read_slice("k", SlicePlace(0, 4)), [_newest_first(ALL[:3])])
    assert (found, asked) == (Slice(ALL[:3], None), [(-4, -1)])
    assert _asked(read_slice("k", SlicePlace()), [_newest_first([])])[0] == Slice([], None)


def test_a_slice_repeats_the_record_before_it() -> None:
    edited = ALL[3][:-1] + b',"g":1}'
    place = SlicePlace(4, 3, ALL[3])
    found, asked = _asked(read_slice("k", place), [_newest_first([edited, *ALL[4:7]])])
    assert asked == [(-7, -4)]
    assert (found.stored, found.following) == (ALL[4:7], SlicePlace(7, 12, ALL[6]))


def test_after_a_trim_it_goes_on_behind_the_last_record() -> None:
    place = SlicePlace(6, 2, ALL[5])
    answers = [_newest_first(ALL[8:10]), _newest_first(ALL[6:8]), _newest_first(ALL[4:6]), _newest_first(ALL[5:8])]
    found, asked = _asked(read_slice("k", place), answers)
    assert asked == [(-8, -6), (-5, -4), (-3, -2), (-5, -3)]
    assert (found.stored, found.following) == (ALL[6:8], SlicePlace(5, 8, ALL[7]))


@pytest.mark.parametrize(("before", "count"), [(ALL[5], 4), (FOREIGN, 1)])
def test_a_place_that_is_lost_is_an_error(before: bytes, count: int) -> None:
    with pytest.raises(ConversationChanged, match="Read it again"):
        play(read_slice("k", SlicePlace(6, 2, before)), [_newest_first([])] * count)


def test_a_reply_that_would_be_too_large_is_asked_for_in_halves() -> None:
    too_large = RequestTooLarge("x")
    found, asked = _asked(read_slice("k", SlicePlace(0, 4)), [too_large, _newest_first(ALL[:2])])
    assert (asked, found.stored) == ([(-4, -1), (-2, -1)], ALL[:2])
    answers = [too_large, _newest_first(ALL[4:5]), _newest_first(ALL[3:4])]
    found, asked = _asked(read_slice("k", SlicePlace(4, 1, ALL[3])), answers)
    assert (asked, found.stored) == ([(-5, -4), (-5, -5), (-4, -4)], ALL[4:5])
    with pytest.raises(RequestTooLarge, match=r"record at position 0 .* is too large"):
        play(read_slice("k", SlicePlace(0, 1)), [too_large])
