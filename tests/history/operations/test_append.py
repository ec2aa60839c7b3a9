"""Appending, without I/O: the requests sent, and the result of each reply."""

from __future__ import annotations

import pytest

from chatstash.errors import (
    Applied,
    ConcurrentTurn,
    ConnectionFailed,
    IdempotencyConflict,
    OutcomeUnknown,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    ReadOnlyToken,
    WrongType,
)
from chatstash.history.operations import append as appends
from chatstash.history.operations import clear as clears
from chatstash.history.operations import read as reads
from chatstash.history.operations.contents import Contents, entries_of
from chatstash.history.records.keys import companion_key
from chatstash.history.records.places import places_key
from chatstash.history.records.record import new_record_ids
from chatstash.history.scripts.loading import SCRIPTS
from chatstash.history.values.options import Options
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Pause, retrying
from tests.history.operations.replies import COST, NO_RETRY, lost, prepared, replied, settlement_of
from tests.history.operations.test_read import OTHER, RECORD
from tests.rest.test_ops import play


def test_an_append_is_one_push() -> None:
    result, asked = play(appends.append(prepared(["old", "new"])), [replied(7)])
    assert asked == [Batch((("LPUSH", "k", "old", "new"),), atomic=True, effect=Effect.WRITE)]
    assert (result.length, result.repeated) == (7, False)


def test_the_expiry_is_set_in_the_same_transaction() -> None:
    _, asked = play(appends.append(prepared(["a"], 60)), [replied(1, 1)])
    wanted = Batch((("LPUSH", "k", "a"), ("EXPIRE", "k", 60)), atomic=True, effect=Effect.WRITE)
    assert asked == [wanted]


def test_a_plain_append_makes_no_script_unless_its_reply_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(SCRIPTS, "source", lambda name: loaded.append(name) or "return 0")
    play(appends.append(prepared(["a"])), [replied(1)])
    assert loaded == []
    play(retrying(appends.append(prepared(["a"])), Budget(retries=1)), [lost(), replied([1, 1, 1, 1])])
    assert loaded == ["append_unless_stored"]


@pytest.mark.parametrize(("status", "commands"), [(1, 4), (2, 3)])
def test_an_append_whose_reply_was_lost_is_settled(status: int, commands: int) -> None:
    driven = retrying(appends.append(prepared(["old", "new"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    answer = replied([status, 9, commands - 1, 1])
    result, asked = play(driven, [lost(), answer])
    settlement = asked[2].commands[0]
    assert [asked[1], asked[2].effect] == [Pause(0.0), Effect.IDEMPOTENT]
    batch = new_record_ids(1, time_ms=1, randomness=b"x" * 6)[0].batch
    assert (settlement[0], settlement[2:]) == ("EVAL", (2, "k", places_key("k"), 60, batch, "old", "new", "[0]"))
    assert (result.length, asked[2].billed_commands(answer.values)) == (9, commands)


def test_a_settlement_that_cannot_set_the_expiry_is_a_partial_append() -> None:
    driven = retrying(appends.append(prepared(["a"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    with pytest.raises(Exception, match=r"were stored, but the expiry .* NOPERM") as caught:
        play(driven, [lost(), replied([1, 1, 3, b"NOPERM\nno"])])
    assert caught.value.applied is Applied.PARTIALLY  # type: ignore[attr-defined]


def test_a_settlement_that_finds_another_type_removes_the_expiry() -> None:
    driven = retrying(appends.append(prepared(["a"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    asked = [next(driven), driven.throw(lost()), driven.send(True)]
    last = driven.throw(WrongType("x"))
    assert last.batch == Batch((("PERSIST", "k"),), effect=Effect.IDEMPOTENT)  # type: ignore[union-attr]
    with pytest.raises(WrongType, match="expiry"):
        driven.send(replied(1))
    assert len(asked) == 3


def test_with_an_idempotency_key_the_settlement_is_the_same_script() -> None:
    wanted = prepared(["a"], 60, idempotency_key="evt", digest="d" * 64)
    answer = replied([1, 3, 3, 1])
    (result, asked) = play(appends.append(wanted), [answer])
    assert settlement_of(asked[0]) == Batch(asked[0].commands, effect=Effect.IDEMPOTENT)
    assert (result.length, asked[0].billed_commands(answer.values)) == (3, 4)
    marker = asked[0].commands[0][4]
    assert wanted.marker is not None
    assert marker == wanted.marker.key
    assert str(marker).startswith(companion_key("idempotency", "k") + ":")


def test_a_used_idempotency_key_returns_the_first_ids_or_is_a_conflict() -> None:
    wanted = prepared(["a"], idempotency_key="evt", digest="d" * 64)
    for batch, repeated in (("other_batch_____", True), (wanted.record_ids[0].batch, False)):
        held = f"{'d' * 64}:{batch}".encode()
        result, _ = play(appends.append(wanted), [replied([0, 5, 2, held])])
        assert (result.repeated, result.record_ids[0].batch, result.length) == (repeated, batch, 5)
    with pytest.raises(IdempotencyConflict, match="'evt'"):
        play(appends.append(wanted), [replied([0, 5, 2, b"e" * 64 + b":x"])])


def _contents(*raws: bytes) -> Contents:
    return Contents(entries_of(raws, "k"), len(raws), raws[-1:], COST)


def test_a_refused_turn_has_the_new_records() -> None:
    with pytest.raises(ConcurrentTurn) as caught:
        play(appends.append_unless_changed(prepared(["a"]), _contents(RECORD)), [replied([0, 2, 4, [1, OTHER]])])
    assert [record.type for record in caught.value.records] == ["ai"]


def test_a_turn_refused_after_a_clear_has_the_records_it_had_not_read() -> None:
    op = appends.append_unless_changed(prepared(["a"]), _contents(RECORD, RECORD))
    with pytest.raises(ConcurrentTurn) as caught:
        play(op, [replied([0, 2, 4, [0, OTHER, RECORD]])])
    assert [record.type for record in caught.value.records] == ["ai"]


def test_an_expiry_set_on_another_type_is_removed() -> None:
    op = appends.append(prepared(["a"], 60))
    asked = [next(op)]
    asked.append(op.send(replied(WrongType("x"), 1)))
    assert asked[1] == Batch((("PERSIST", "k"),), effect=Effect.IDEMPOTENT)
    with pytest.raises(WrongType, match="'k'") as caught:
        op.send(replied(1))
    assert caught.value.key == "k"
    assert caught.value.applied is Applied.PARTIALLY
    assert "expiry before" in str(caught.value)


def test_an_expiry_that_cannot_be_removed_is_reported() -> None:
    op = retrying(appends.append(prepared(["a"], 60)), NO_RETRY)
    next(op)
    op.send(replied(WrongType("x"), 1))
    with pytest.raises(WrongType, match="run PERSIST"):
        op.throw(ConnectionFailed("x"))


def test_a_refused_expiry_is_an_error() -> None:
    for op, done in (
        (reads.read("k", Options(ttl=60, refresh_ttl_on_read=True)), "could be read"),
        (appends.append(prepared(["a"], 60)), "were stored"),
    ):
        with pytest.raises(ReadOnlyToken, match=done) as caught:
            play(op, [replied([], ReadOnlyToken("x"))])
        assert caught.value.applied is Applied.PARTIALLY


def test_a_refused_append_changed_nothing() -> None:
    for expiry in (0, ReadOnlyToken("x")):
        with pytest.raises(ReadOnlyToken) as caught:
            play(appends.append(prepared(["a"], 60)), [replied(ReadOnlyToken("x"), expiry)])
        assert caught.value.applied is Applied.NO


def test_an_unknown_outcome_identifies_the_write() -> None:
    plain, keyed = prepared(["a", "b"]), prepared(["a"], idempotency_key="evt", digest="d")
    assert keyed.marker
    for op, ids, marker in (
        (appends.append(plain), tuple(plain.record_ids), None),
        (appends.append(keyed), tuple(keyed.record_ids), keyed.marker.key),
        (clears.clear("k", "name"), (), companion_key("clear", "k", "name")),
    ):
        with pytest.raises(OutcomeUnknownAfterTimeout) as caught:
            play(retrying(op, NO_RETRY), [lost()])
        assert (caught.value.key, caught.value.record_ids, caught.value.marker) == ("k", ids, marker)


def test_a_reply_of_another_type_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        play(appends.append(prepared(["a"])), [replied(b"x")])


@pytest.mark.parametrize("value", [None, [1, 2], [b"1", 2, 3], [7, 3, 3, 1]])
def test_an_unexpected_answer_of_the_script_leaves_the_outcome_unknown(value: object) -> None:
    wanted = prepared(["a"], idempotency_key="evt", digest="d")
    with pytest.raises(OutcomeUnknown):
        play(appends.append(wanted), [replied(value)])


def test_a_settlement_that_answers_with_a_refusal_leaves_the_outcome_unknown() -> None:
    driven = retrying(appends.append(prepared(["a"])), Budget(retries=1, jitter=lambda: 0.0))
    with pytest.raises(OutcomeUnknown) as caught:
        play(driven, [lost(), replied([0, 3, 3])])
    assert caught.value.key == "k"


def test_an_error_within_a_script_shows_its_code_only() -> None:
    driven = retrying(appends.append(prepared(["a"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    with pytest.raises(Exception, match="EXPIRE") as caught:
        play(driven, [lost(), replied([1, 1, 3, b"ERR s3cr3t-token"])])
    assert "s3cr3t" not in str(caught.value)
