"""Append, read, clear and settle as operations, with no I/O: what they send, and what they make of the replies."""

from __future__ import annotations

from typing import Any

import pytest

from chatstash.errors import (
    Applied,
    CommandRejected,
    ConcurrentTurn,
    ConnectionFailed,
    CorruptRecord,
    IdempotencyConflict,
    Outcome,
    OutcomeUnknown,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    ReadOnlyToken,
    RecordTooLarge,
    RequestTimeout,
    RequestTooLarge,
    WrongType,
)
from chatstash.history.codec import RecordCodec, read_result
from chatstash.history.operations import append as appends
from chatstash.history.operations import clear as clears
from chatstash.history.operations import outcome as outcomes
from chatstash.history.operations import read as reads
from chatstash.history.options import Options
from chatstash.history.records import sizes
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.records.places import places_key
from chatstash.history.records.record import new_record_ids
from chatstash.history.steps.costs import with_cost
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Pause, retrying
from tests.rest.test_ops import play

COST = Cost(1, 1, 20, 20)
NO_RETRY = Budget(retries=0)


def _lost() -> RequestTimeout:
    return RequestTimeout("lost", applied=Applied.UNKNOWN)


def _replies(*values: object) -> Replies:
    return Replies(values, COST)  # type: ignore[arg-type]


def _append(texts: list[str], ttl: int | None = None, **more: Any) -> appends.Append:
    ids = new_record_ids(len(texts), time_ms=1, randomness=b"x" * 6)
    return appends.Append("k", texts, ids, Options(ttl=ttl), **more)


def settlement_of(batch: Batch) -> Batch:
    assert batch.settlement is not None
    return batch.settlement()


def test_append_pushes_in_order() -> None:
    result, asked = play(with_cost(appends.append(_append(["old", "new"]))), [_replies(7)])
    assert asked == [Batch((("LPUSH", "k", "old", "new"),), atomic=True, effect=Effect.WRITE)]
    assert (result.length, result.cost, result.repeated) == (7, COST, False)


def test_append_sets_the_expiry_in_the_same_transaction() -> None:
    _, asked = play(appends.append(_append(["a"], 60)), [_replies(1, 1)])
    wanted = Batch((("LPUSH", "k", "a"), ("EXPIRE", "k", 60)), atomic=True, effect=Effect.WRITE)
    assert asked == [wanted]


@pytest.mark.parametrize(("status", "commands"), [(1, 4), (2, 3)])
def test_an_append_whose_reply_was_lost_is_settled(status: int, commands: int) -> None:
    driven = retrying(with_cost(appends.append(_append(["old", "new"], 60))), Budget(retries=1, jitter=lambda: 0.0))
    result, asked = play(driven, [_lost(), _replies([status, 9, commands - 1, 1])])
    settlement = asked[2].commands[0]
    assert [asked[1], asked[2].effect] == [Pause(0.0), Effect.IDEMPOTENT]
    batch = new_record_ids(1, time_ms=1, randomness=b"x" * 6)[0].batch
    assert (settlement[0], settlement[2:]) == ("EVAL", (2, "k", places_key("k"), 60, batch, "old", "new"))
    assert (result.length, result.cost.commands, result.cost.requests) == (9, commands, 2)


def test_a_settlement_that_could_not_set_the_expiry_says_so() -> None:
    driven = retrying(appends.append(_append(["a"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    with pytest.raises(Exception, match=r"were stored, but the expiry .* NOPERM") as caught:
        play(driven, [_lost(), _replies([1, 1, 3, b"NOPERM\nno"])])
    assert caught.value.applied is Applied.PARTIALLY  # type: ignore[attr-defined]


def test_a_wrong_type_found_when_settling_takes_the_expiry_off_again() -> None:
    driven = retrying(appends.append(_append(["a"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    asked = [next(driven), driven.throw(_lost()), driven.send(True)]
    last = driven.throw(WrongType("x"))
    assert last.batch == Batch((("PERSIST", "k"),), effect=Effect.IDEMPOTENT)  # type: ignore[union-attr]
    with pytest.raises(WrongType, match="expiry"):
        driven.send(_replies(1))
    assert len(asked) == 3


def test_an_idempotency_key_is_one_script_that_may_be_sent_again() -> None:
    wanted = _append(["a"], 60, idempotency_key="evt", digest="d" * 64)
    (result, asked) = play(with_cost(appends.append(wanted)), [_replies([1, 3, 3, 1])])
    assert settlement_of(asked[0]) == Batch(asked[0].commands, effect=Effect.IDEMPOTENT)
    assert (result.length, result.cost.commands) == (3, 4)
    marker = asked[0].commands[0][4]
    assert wanted.marker is not None
    assert marker == wanted.marker.key
    assert str(marker).startswith(companion_key("idempotency", "k") + ":")


def test_an_idempotency_key_used_before_gives_the_first_ids_or_a_conflict() -> None:
    wanted = _append(["a"], idempotency_key="evt", digest="d" * 64)
    for batch, repeated in (("other_batch_____", True), (wanted.record_ids[0].batch, False)):
        held = f"{'d' * 64}:{batch}".encode()
        result, _ = play(appends.append(wanted), [_replies([0, 5, 2, held])])
        assert (result.repeated, result.record_ids[0].batch, result.length) == (repeated, batch, 5)
    with pytest.raises(IdempotencyConflict, match="'evt'"):
        play(appends.append(wanted), [_replies([0, 5, 2, b"e" * 64 + b":x"])])


def _contents(*raws: bytes) -> reads.Contents:
    return reads.Contents(reads.entries_of(raws, "k"), len(raws), raws[-1:], COST)


RECORD = b'{"type":"human","data":{}}'
OTHER = b'{"type":"ai","data":{}}'


def test_a_guarded_append_says_what_is_new() -> None:
    with pytest.raises(ConcurrentTurn) as caught:
        play(appends.append_unless_changed(_append(["a"]), _contents(RECORD)), [_replies([0, 2, 4, [1, OTHER]])])
    assert [record.type for record in caught.value.records] == ["ai"]


def test_a_guarded_append_after_a_clear_says_what_was_not_read() -> None:
    op = appends.append_unless_changed(_append(["a"]), _contents(RECORD, RECORD))
    with pytest.raises(ConcurrentTurn) as caught:
        play(op, [_replies([0, 2, 4, [0, OTHER, RECORD]])])
    assert [record.type for record in caught.value.records] == ["ai"]


def test_read_turns_the_list_round() -> None:
    contents, asked = play(reads.read("k", Options()), [_replies([OTHER, RECORD])])
    assert asked == [Batch((("LRANGE", "k", 0, -1),))]
    assert [entry.type for entry in contents.entries] == ["human", "ai"]
    assert (contents.length, contents.newest) == (2, [OTHER, RECORD])


def test_read_with_refresh_is_not_a_write_that_must_not_be_repeated() -> None:
    _, asked = play(reads.read("k", Options(ttl=60, refresh_ttl_on_read=True)), [_replies([], 0)])
    assert asked == [Batch((("LRANGE", "k", 0, -1), ("EXPIRE", "k", 60)), effect=Effect.IDEMPOTENT)]


def test_a_corrupt_record_is_counted_from_the_oldest() -> None:
    contents, _ = play(reads.read("k", Options()), [_replies([OTHER, b"bad", RECORD, RECORD])])
    with pytest.raises(CorruptRecord) as caught:
        read_result(contents, RecordCodec(), "k", "raise")
    assert (caught.value.key, caught.value.position, caught.value.raw) == ("k", 2, b"bad")


def _of_batch(number: int, text: str = "x") -> bytes:
    rid = new_record_ids(1, time_ms=number, randomness=b"x" * 6)[0]
    return f'{{"type":"human","data":{{"content":"{text}"}},"rid":"{rid}"}}'.encode()


def test_a_duplicate_is_removed_and_the_conversation_read_again() -> None:
    duplicated = [_of_batch(1, "edited"), _of_batch(2), RECORD, RECORD, _of_batch(1)]
    replies = [_replies(duplicated), _replies([1, 5, b""]), _replies(duplicated[1:])]
    contents, asked = play(reads.read("k", Options()), replies)
    assert [entry.raw for entry in contents.entries] == [_of_batch(1), RECORD, RECORD, _of_batch(2)]
    assert asked[1].effect is Effect.IDEMPOTENT
    assert asked[1].commands[0][2:5] == (2, "k", places_key("k"))


@pytest.mark.parametrize(("error", "level"), [(ConnectionFailed("x"), "WARNING"), (ReadOnlyToken("x"), "DEBUG")])
def test_a_duplicate_that_cannot_be_removed_is_hidden_and_logged(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "chatstash")
    replies = [_replies([_of_batch(1), _of_batch(1)]), error, _replies([0, 3, b""])]
    contents, _ = play(reads.read("k", Options()), replies)
    assert len(contents.entries) == 1
    assert [(entry.levelname, "'k'" in entry.getMessage()) for entry in caplog.records] == [(level, True)]


def test_clear_tells_whether_there_was_something() -> None:
    for deleted, existed in ((1, True), (0, False)):
        result, asked = play(with_cost(clears.clear("k", "name")), [_replies([deleted, 3])])
        assert asked[0].commands[0][2:] == (2, "k", companion_key("clear", "k", "name"), IN_FLIGHT_TTL)
        assert settlement_of(asked[0]) == Batch(asked[0].commands, effect=Effect.IDEMPOTENT)
        assert (result.existed, result.cost.commands) == (existed, 4)


@pytest.mark.parametrize(
    ("found", "in_flight_seconds", "outcome"),
    [(1, True, Outcome.STORED), (0, True, Outcome.STILL_POSSIBLE), (0, False, Outcome.NOT_STORED)],
)
def test_settling(found: int, in_flight_seconds: bool, outcome: Outcome) -> None:
    ids = new_record_ids(2, time_ms=1, randomness=b"x" * 6)
    batch = ids[0].batch
    for marker, asked_for in ((None, ("k", batch, "")), ("m", ("k", "m", batch, ""))):
        op = outcomes.check_outcome("k", outcomes.UnresolvedWrite(batch, marker), may_still_arrive=in_flight_seconds)
        result, asked = play(op, [_replies([found, 1])])
        assert (result, asked[0].commands[0][3:]) == (outcome, asked_for)


def test_an_expiry_set_on_something_else_is_taken_off_again() -> None:
    op = appends.append(_append(["a"], 60))
    asked = [next(op)]
    asked.append(op.send(_replies(WrongType("x"), 1)))
    assert asked[1] == Batch((("PERSIST", "k"),), effect=Effect.IDEMPOTENT)
    with pytest.raises(WrongType, match="'k'") as caught:
        op.send(_replies(1))
    assert caught.value.key == "k"
    assert caught.value.applied is Applied.PARTIALLY
    assert "expiry before" in str(caught.value)


def test_where_that_fails_the_error_says_what_is_left_to_do() -> None:
    op = retrying(appends.append(_append(["a"], 60)), NO_RETRY)
    next(op)
    op.send(_replies(WrongType("x"), 1))
    with pytest.raises(WrongType, match="run PERSIST"):
        op.throw(ConnectionFailed("x"))


def test_an_expiry_that_is_refused_is_not_passed_over() -> None:
    for op, done in (
        (reads.read("k", Options(ttl=60, refresh_ttl_on_read=True)), "could be read"),
        (appends.append(_append(["a"], 60)), "were stored"),
    ):
        with pytest.raises(ReadOnlyToken, match=done) as caught:
            play(op, [_replies([], ReadOnlyToken("x"))])
        assert caught.value.applied is Applied.PARTIALLY


def test_an_append_that_was_refused_with_its_expiry_changed_nothing() -> None:
    for expiry in (0, ReadOnlyToken("x")):
        with pytest.raises(ReadOnlyToken) as caught:
            play(appends.append(_append(["a"], 60)), [_replies(ReadOnlyToken("x"), expiry)])
        assert caught.value.applied is Applied.NO


def test_an_unknown_outcome_names_key_records_and_marker() -> None:
    plain, keyed = _append(["a", "b"]), _append(["a"], idempotency_key="evt", digest="d")
    assert keyed.marker
    for op, ids, marker in (
        (appends.append(plain), tuple(plain.record_ids), None),
        (appends.append(keyed), tuple(keyed.record_ids), keyed.marker.key),
        (clears.clear("k", "name"), (), companion_key("clear", "k", "name")),
    ):
        with pytest.raises(OutcomeUnknownAfterTimeout) as caught:
            play(retrying(op, NO_RETRY), [_lost()])
        assert (caught.value.key, caught.value.record_ids, caught.value.marker) == ("k", ids, marker)


@pytest.mark.parametrize("value", [b"x", None, [1]])
def test_a_reply_of_another_kind_is_said_to_be_one(value: object) -> None:
    with pytest.raises(ProtocolError):
        play(appends.append(_append(["a"])), [_replies(value)])


@pytest.mark.parametrize("value", [b"x", None, 1, [], [1, 2], [b"1", 2, 3]])
def test_a_script_that_answers_something_else_leaves_the_outcome_unknown(value: object) -> None:
    wanted = _append(["a"], idempotency_key="evt", digest="d")
    with pytest.raises(OutcomeUnknown):
        play(appends.append(wanted), [_replies(value)])


LIMIT = 100_000


def _large(count: int, size: int = 30_000) -> appends.Append:
    texts = [f"{number:06}".ljust(size, "x") for number in range(count)]
    ids = new_record_ids(count, time_ms=1, randomness=b"x" * 6)
    return appends.Append("k", texts, ids, Options(ttl=60, max_request_bytes=LIMIT))


def test_a_large_append_is_staged_and_moved() -> None:
    wanted = _large(7)
    replies = [_replies(0, 3, 1), _replies(0, 3, 1), _replies(0, 1, 1), _replies([1, 7, 8, 1])]
    result, asked = play(with_cost(appends.append(wanted)), replies)
    *parts, move = asked
    assert [text for part in parts for text in part.commands[1][2:]] == wanted.texts
    assert all(part.effect is Effect.IDEMPOTENT for part in parts)
    assert all([command[0] for command in part.commands] == ["DEL", "RPUSH", "EXPIRE"] for part in parts)
    staged = tuple(part.commands[0][1] for part in parts)
    assert move.commands[0][2:] == (4, "k", *staged, 60, wanted.batch, "", "", "", "", "")
    assert move.settlement is not None
    assert (result.length, result.cost) == (7, Cost(4, 12, 80, 80))


def test_a_part_that_cannot_be_staged_leaves_the_conversation_as_it_was() -> None:
    for failure in (_lost(), _replies(0, ReadOnlyToken("x"), 0)):
        with pytest.raises(Exception, match=r"x|lost") as caught:
            play(appends.append(_large(7)), [failure])
        assert caught.value.applied is Applied.NO  # type: ignore[attr-defined]


def test_where_the_server_permits_less_smaller_parts_are_sent() -> None:
    refused = RequestTooLarge(
        "x", server_text="ERR max request size exceeded. Limit: 50000 bytes, Actual: 60000 bytes."
    )
    replies = [refused, _replies(0, 1, 1), _replies(0, 1, 1), _replies([1, 2, 8, 1])]
    _, asked = play(appends.append(_large(2)), replies)
    assert [len(batch.commands) for batch in asked] == [2, 3, 3, 1]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (2, "ERR max single record size exceeded"),
    ],
)
def test_where_smaller_parts_would_not_help_the_refusal_stands(count: int, text: str) -> None:
    with pytest.raises(RequestTooLarge):
        play(appends.append(_large(count)), [RequestTooLarge("x", server_text=text)])


def test_a_record_over_the_limit_is_refused_before_anything_is_sent() -> None:
    wanted = _large(3)
    large = appends.Append("k", [*wanted.texts, "x" * LIMIT], wanted.record_ids, wanted.options)
    with pytest.raises(RecordTooLarge) as caught:
        next(appends.append(large))
    assert (caught.value.index, caught.value.limit) == (3, LIMIT)


def test_what_escaping_makes_of_a_record_counts() -> None:
    assert sizes.fits("k", ["x" * 80_000], LIMIT)
    with pytest.raises(RecordTooLarge):
        sizes.fits("k", ["\x01" * 20_000], LIMIT)


def test_where_the_server_does_not_say_how_much_it_permits_parts_are_halved_until_no_smaller_ones_are_left() -> None:
    wanted = _large(4, 10_000)
    refused = RequestTooLarge("x", status=413)
    done = [_replies(0, 1, 1)] * 4 + [_replies([1, 4, 8, 1])]
    _, asked = play(appends.append(wanted), [refused, refused, _replies(0), *done])
    assert [[command[0] for command in batch.commands][:2] for batch in asked] == [
        ["LPUSH", "EXPIRE"],
        ["DEL", "RPUSH"],
        ["DEL"],
        *[["DEL", "RPUSH"]] * 4,
        ["EVAL"],
    ]
    with pytest.raises(RequestTooLarge):
        play(appends.append(wanted), [refused] * 10)


@pytest.mark.parametrize("answer", [[0, 3, 3], [7, 3, 3, 1], [-1, 3, 3, 1]])
def test_a_settlement_answered_with_what_it_cannot_answer_leaves_the_outcome_unknown(answer: list[int]) -> None:
    driven = retrying(appends.append(_append(["a"])), Budget(retries=1, jitter=lambda: 0.0))
    with pytest.raises(OutcomeUnknown) as caught:
        play(driven, [_lost(), _replies(answer)])
    assert caught.value.key == "k"


def test_an_error_within_a_scripts_reply_shows_its_code_only() -> None:
    driven = retrying(appends.append(_append(["a"], 60)), Budget(retries=1, jitter=lambda: 0.0))
    with pytest.raises(Exception, match="EXPIRE") as caught:
        play(driven, [_lost(), _replies([1, 1, 3, b"ERR s3cr3t-token"])])
    assert "s3cr3t" not in str(caught.value)


def test_a_record_over_the_limit_that_the_server_names_is_named_too() -> None:
    refused = RequestTooLarge(
        "x", server_text="ERR max request size exceeded. Limit: 20000 bytes, Actual: 60000 bytes."
    )
    with pytest.raises(RecordTooLarge) as caught:
        play(appends.append(_large(2)), [refused])
    assert (caught.value.index, caught.value.limit) == (0, 20_000)


@pytest.mark.parametrize("refusal", [CommandRejected("no EVAL"), ReadOnlyToken("no EVAL")])
def test_where_no_scripts_can_be_run_clearing_is_a_command(refusal: Exception) -> None:
    result, asked = play(clears.clear("k", "name"), [refusal, _replies(1)])
    assert asked[1] == Batch((("DEL", "k"),), effect=Effect.WRITE)
    assert result.existed
    with pytest.raises(OutcomeUnknown) as caught:
        play(retrying(clears.clear("k", "name"), Budget(retries=3)), [refusal, _lost()])
    assert (caught.value.key, caught.value.marker) == ("k", None)
    assert (
        play(outcomes.check_outcome("k", outcomes.UnresolvedWrite(), may_still_arrive=False), [])[0]
        is Outcome.STILL_POSSIBLE
    )
