"""Appends over the size of a request, without I/O: staged in parts and moved in one step."""

from __future__ import annotations

import pytest

from chatstash.errors import Applied, ReadOnlyToken, RecordTooLarge, RequestTooLarge
from chatstash.history.operations import append as appends
from chatstash.history.records import sizes
from chatstash.history.records.record import new_record_ids
from chatstash.history.values.options import Options
from chatstash.rest.commands import Effect
from tests.history.operations.replies import lost, replied
from tests.rest.test_ops import play

LIMIT = 100_000


def _large(count: int, size: int = 30_000) -> appends.Append:
    texts = [f"{number:06}".ljust(size, "x") for number in range(count)]
    ids = new_record_ids(count, time_ms=1, randomness=b"x" * 6)
    return appends.Append("k", texts, ids, Options(ttl=60, max_request_bytes=LIMIT))


def test_a_large_append_is_staged_and_moved() -> None:
    wanted = _large(7)
    replies = [replied(0, 3, 1), replied(0, 3, 1), replied(0, 1, 1), replied([1, 7, 8, 1])]
    result, asked = play(appends.append(wanted), replies)
    *parts, move = asked
    assert [text for part in parts for text in part.commands[1][2:]] == wanted.texts
    assert all(part.effect is Effect.IDEMPOTENT for part in parts)
    assert all([command[0] for command in part.commands] == ["DEL", "RPUSH", "EXPIRE"] for part in parts)
    staged = tuple(part.commands[0][1] for part in parts)
    assert move.commands[0][2:] == (4, "k", *staged, 60, wanted.batch, "", "", "", "", "", "[0]")
    assert move.settlement is not None
    assert result.length == 7
    assert sum(batch.billed_commands(each.values) for batch, each in zip(asked, replies, strict=True)) == 18


def test_a_part_that_cannot_be_staged_leaves_the_conversation_as_it_was() -> None:
    for failure in (lost(), replied(0, ReadOnlyToken("x"), 0)):
        with pytest.raises(Exception, match=r"x|lost") as caught:
            play(appends.append(_large(7)), [failure])
        assert caught.value.applied is Applied.NO  # type: ignore[attr-defined]


def test_a_lower_limit_of_the_server_makes_smaller_parts() -> None:
    refused = RequestTooLarge(
        "x", server_text="ERR max request size exceeded. Limit: 50000 bytes, Actual: 60000 bytes."
    )
    replies = [refused, replied(0, 1, 1), replied(0, 1, 1), replied([1, 2, 8, 1])]
    _, asked = play(appends.append(_large(2)), replies)
    assert [len(batch.commands) for batch in asked] == [2, 3, 3, 1]


def test_a_refusal_that_smaller_parts_would_not_help_is_raised() -> None:
    with pytest.raises(RequestTooLarge):
        play(appends.append(_large(2)), [RequestTooLarge("x", server_text="ERR max single record size exceeded")])


def test_a_record_over_the_limit_is_refused_before_anything_is_sent() -> None:
    wanted = _large(3)
    large = appends.Append("k", [*wanted.texts, "x" * LIMIT], wanted.record_ids, wanted.options)
    with pytest.raises(RecordTooLarge) as caught:
        next(appends.append(large))
    assert (caught.value.index, caught.value.limit) == (3, LIMIT)


def test_the_size_of_a_record_is_that_of_its_json() -> None:
    assert sizes.fits("k", ["x" * 80_000], LIMIT)
    with pytest.raises(RecordTooLarge):
        sizes.fits("k", ["\x01" * 20_000], LIMIT)


def test_without_a_known_limit_parts_are_halved() -> None:
    wanted = _large(4, 10_000)
    refused = RequestTooLarge("x", status=413)
    done = [replied(0, 1, 1)] * 4 + [replied([1, 4, 8, 1])]
    _, asked = play(appends.append(wanted), [refused, refused, replied(0), *done])
    assert [[command[0] for command in batch.commands][:2] for batch in asked] == [
        ["LPUSH", "EXPIRE"],
        ["DEL", "RPUSH"],
        ["DEL"],
        *[["DEL", "RPUSH"]] * 4,
        ["EVAL"],
    ]
    with pytest.raises(RequestTooLarge):
        play(appends.append(wanted), [refused] * 10)


def test_a_record_over_the_limit_of_the_server_is_named() -> None:
    refused = RequestTooLarge(
        "x", server_text="ERR max request size exceeded. Limit: 20000 bytes, Actual: 60000 bytes."
    )
    with pytest.raises(RecordTooLarge) as caught:
        play(appends.append(_large(2)), [refused])
    assert (caught.value.index, caught.value.limit) == (0, 20_000)
