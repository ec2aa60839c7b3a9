"""Retries, with no I/O: what is tried again, how often, after how long, and what is raised in the end."""

from __future__ import annotations

from typing import Any

import pytest

from chatstash.errors import (
    Applied,
    BadCredentials,
    ConnectionFailed,
    DatabaseError,
    GatewayError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    OutcomeUnknownAfterConnectionLoss,
    OutcomeUnknownAfterGatewayError,
    OutcomeUnknownAfterServerError,
    OutcomeUnknownAfterTimeout,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    ServerError,
)
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Attempt, DrivenOp, Op, Pause, retrying, send
from chatstash.rest.protocol.requests import ReplyFormatRefused

READ = Batch((("GET", "k"),))
WRITE = Batch((("LPUSH", "k", "v"),), effect=Effect.WRITE)
IDEMPOTENT = Batch((("PERSIST", "k"),), effect=Effect.IDEMPOTENT)
POLICY = Budget(retries=3, first_pause=0.1, longest_pause=0.3, jitter=lambda: 1.0)


def one(batch: Batch) -> Op[Replies]:
    return (yield from send(batch))


def play(driven: DrivenOp[Any], script: list[Any]) -> tuple[Any, list[Any]]:
    """Run an operation against a script of answers and errors; returns its result and what it asked for."""
    asked: list[Any] = []
    answers = iter(script)
    try:
        wanted = next(driven)
        while True:
            asked.append(wanted.batch if isinstance(wanted, Attempt) else wanted)
            answer = True if isinstance(wanted, Pause) else next(answers)
            wanted = driven.throw(answer) if isinstance(answer, Exception) else driven.send(answer)
    except StopIteration as stop:
        return stop.value, asked


OK = Replies((b"v",), Cost(1, 1, 10, 10))


def test_an_answer_is_handed_on() -> None:
    assert play(retrying(one(READ), POLICY), [OK]) == (OK, [READ])


@pytest.mark.parametrize("batch", [READ, WRITE])
def test_what_was_not_applied_is_tried_again_with_growing_pauses(batch: Batch) -> None:
    result, asked = play(retrying(one(batch), POLICY), [ConnectionFailed("x")] * 3 + [OK])
    assert asked == [batch, Pause(0.1), batch, Pause(0.2), batch, Pause(0.3), batch]
    assert result == OK


@pytest.mark.parametrize("kind", [ConnectionFailed, RequestTimeout, ServerError, GatewayError, RateLimited])
def test_what_passes_by_itself_is_tried_again(kind: type[DatabaseError]) -> None:
    assert len(play(retrying(one(READ), POLICY), [kind("x"), OK])[1]) == 3


@pytest.mark.parametrize("kind", [BadCredentials, ProtocolError])
def test_what_does_not_pass_by_itself_is_not(kind: type[DatabaseError]) -> None:
    with pytest.raises(kind):
        play(retrying(one(READ), POLICY), [kind("x")])


def test_it_gives_up_after_the_retries() -> None:
    with pytest.raises(ConnectionFailed):
        play(retrying(one(READ), Budget(retries=1)), [ConnectionFailed("x")] * 2)


def test_the_server_may_ask_for_a_longer_pause() -> None:
    _, asked = play(retrying(one(READ), POLICY), [RateLimited("x", retry_after=7.0), OK])
    assert asked[1] == Pause(7.0)


def test_a_pause_that_does_not_fit_ends_it() -> None:
    driven = retrying(one(READ), POLICY)
    next(driven)
    assert isinstance(driven.throw(ConnectionFailed("x")), Pause)
    with pytest.raises(ConnectionFailed):
        driven.send(False)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (RequestTimeout, OutcomeUnknownAfterTimeout),
        (ConnectionFailed, OutcomeUnknownAfterConnectionLoss),
        (ServerError, OutcomeUnknownAfterServerError),
        (GatewayError, OutcomeUnknownAfterGatewayError),
        (ProtocolError, OutcomeUnknownAfterBadReply),
    ],
)
def test_an_unknown_outcome_is_raised_at_once_and_is_still_of_its_kind(
    cause: type[DatabaseError], kind: type[OutcomeUnknown]
) -> None:
    error = cause("x", status=500, server_text="said", applied=Applied.UNKNOWN)
    with pytest.raises(kind) as caught:
        play(retrying(one(WRITE), POLICY), [error])
    assert isinstance(caught.value, cause)
    assert (caught.value.status, caught.value.server_text, caught.value.applied) == (500, "said", Applied.UNKNOWN)


def test_a_lost_reply_is_asked_for_again_where_that_does_no_harm() -> None:
    for batch in (READ, IDEMPOTENT):
        lost = RequestTimeout("x", applied=Applied.UNKNOWN)
        assert play(retrying(one(batch), POLICY), [lost, OK])[1] == [batch, Pause(0.1), batch]


def test_of_a_read_it_is_known_that_nothing_changed() -> None:
    for batch, applied in ((READ, Applied.NO), (IDEMPOTENT, Applied.UNKNOWN)):
        with pytest.raises(RequestTimeout) as caught:
            play(retrying(one(batch), Budget(retries=0)), [RequestTimeout("x", applied=Applied.UNKNOWN)])
        assert not isinstance(caught.value, OutcomeUnknown)
        assert caught.value.applied is applied


def test_a_refused_format_is_asked_for_again_once_and_at_no_retry() -> None:
    refused = ReplyFormatRefused("x")
    none = Budget(retries=0)
    assert play(retrying(one(READ), none), [refused, OK])[1] == [READ, READ]
    with pytest.raises(ReplyFormatRefused):
        play(retrying(one(READ), none), [refused, refused])


def test_an_operation_may_mend_an_error_itself() -> None:
    def mending() -> Op[str]:
        try:
            yield from send(READ)
        except BadCredentials:
            yield from send(WRITE)
        return "mended"

    assert play(retrying(mending(), POLICY), [BadCredentials("x"), OK]) == ("mended", [READ, WRITE])


def test_no_pause_is_longer_than_the_longest_however_many_tries() -> None:
    policy = Budget(retries=10**6, jitter=lambda: 1.0)
    assert policy.pause_after(5000, ConnectionFailed("x"), Effect.READ) == policy.longest_pause
    assert Budget(jitter=lambda: 0.0).pause_after(0, ConnectionFailed("x"), Effect.READ) == 0
