"""Append, read and clear as operations, with no I/O: what they send, and what they make of the replies."""

from __future__ import annotations

import pytest

from chatstash.errors import (
    Applied,
    ConnectionFailed,
    CorruptRecord,
    OutcomeUnknown,
    ProtocolError,
    ReadOnlyToken,
    RequestTimeout,
    WrongType,
)
from chatstash.history import operations
from chatstash.history.records import record_ids
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.limits import RetryPolicy
from chatstash.rest.ops import retrying
from tests.rest.test_ops import play

COST = Cost(1, 1, 20, 20)
NO_RETRY = RetryPolicy(retries=0)


def _replies(*values: object) -> Replies:
    return Replies(values, COST)  # type: ignore[arg-type]


def test_append_pushes_in_order() -> None:
    result, asked = play(operations.append("k", ["old", "new"], [], None), [_replies(7)])
    assert asked == [Batch((("LPUSH", "k", "old", "new"),), atomic=True, effect=Effect.WRITE)]
    assert (result.length, result.cost) == (7, COST)


def test_append_sets_the_expiry_in_the_same_transaction() -> None:
    _, asked = play(operations.append("k", ["a"], [], 60), [_replies(1, 1)])
    assert asked == [Batch((("LPUSH", "k", "a"), ("EXPIRE", "k", 60)), atomic=True, effect=Effect.WRITE)]


def test_read_turns_the_list_round() -> None:
    stored = [b'{"type":"ai","data":{}}', b'{"type":"human","data":{}}']
    result, asked = play(operations.read("k"), [_replies(stored)])
    assert asked == [Batch((("LRANGE", "k", 0, -1),))]
    assert [record.type for record in result.records] == ["human", "ai"]


def test_read_with_refresh_is_not_a_write_that_must_not_be_repeated() -> None:
    _, asked = play(operations.read("k", 60), [_replies([], 0)])
    assert asked == [Batch((("LRANGE", "k", 0, -1), ("EXPIRE", "k", 60)), effect=Effect.IDEMPOTENT)]


def test_a_corrupt_record_is_counted_from_the_oldest() -> None:
    stored = [b'{"type":"ai","data":{}}', b"bad", b'{"type":"human","data":{}}', b'{"type":"human","data":{}}']
    with pytest.raises(CorruptRecord) as caught:
        play(operations.read("k"), [_replies(stored)])
    assert (caught.value.key, caught.value.position, caught.value.raw) == ("k", 2, b"bad")


def test_clear_tells_whether_there_was_something() -> None:
    for deleted, existed in ((1, True), (0, False)):
        result, asked = play(operations.clear("k"), [_replies(deleted)])
        assert asked == [Batch((("DEL", "k"),), effect=Effect.WRITE)]
        assert result.existed is existed


def test_an_expiry_set_on_something_else_is_taken_off_again() -> None:
    op = operations.append("k", ["a"], [], 60)
    asked = [next(op)]
    asked.append(op.send(_replies(WrongType("x"), 1)))
    assert asked[1] == Batch((("PERSIST", "k"),), effect=Effect.IDEMPOTENT)
    with pytest.raises(WrongType, match="'k'") as caught:
        op.send(_replies(1))
    assert caught.value.key == "k"
    assert caught.value.applied is Applied.PARTLY
    assert "expiry of its own" in str(caught.value)


def test_where_that_fails_the_error_says_what_is_left_to_do() -> None:
    op = retrying(operations.append("k", ["a"], [], 60), NO_RETRY)
    next(op)
    op.send(_replies(WrongType("x"), 1))
    with pytest.raises(WrongType, match="run PERSIST"):
        op.throw(ConnectionFailed("x"))


def test_an_expiry_that_is_refused_is_not_passed_over() -> None:
    for op, done in (
        (operations.read("k", 60), "could be read"),
        (operations.append("k", ["a"], [], 60), "were stored"),
    ):
        with pytest.raises(ReadOnlyToken, match=done) as caught:
            play(op, [_replies([], ReadOnlyToken("x"))])
        assert caught.value.applied is Applied.PARTLY


def test_an_append_that_was_refused_with_its_expiry_changed_nothing() -> None:
    for expiry in (0, ReadOnlyToken("x")):
        with pytest.raises(ReadOnlyToken) as caught:
            play(operations.append("k", ["a"], [], 60), [_replies(ReadOnlyToken("x"), expiry)])
        assert caught.value.applied is Applied.NO


def test_an_unknown_outcome_names_key_and_records() -> None:
    rids = record_ids(2, time_ms=1, randomness=b"x" * 6)
    lost = RequestTimeout("x", applied=Applied.UNKNOWN)
    for op, kept in ((operations.append("k", ["a", "b"], rids, None), tuple(rids)), (operations.clear("k"), ())):
        with pytest.raises(OutcomeUnknown) as caught:
            play(retrying(op, NO_RETRY), [lost])
        assert (caught.value.key, caught.value.rids) == ("k", kept)


@pytest.mark.parametrize("value", [b"x", None, [1]])
def test_a_reply_of_another_kind_is_said_to_be_one(value: object) -> None:
    with pytest.raises(ProtocolError):
        play(operations.append("k", ["a"], [], None), [_replies(value)])
