"""Failed writes are logged and reported to the hook, before the error is raised."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables.history import RunnableWithMessageHistory

from chatstash import DatabaseError, OutcomeUnknown, RateLimited, UnstorableMessage, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call
from tests.langchain.support import answering, ask, histories, history, stored


def test_a_failed_write_is_logged_and_reported_before_its_error_is_raised(
    upstash: LocalUpstash, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Exception] = []
    upstash.faults.add("reply_lost")
    forged = "s\nERROR chatstash: all is lost"
    failing = history(upstash, forged, on_write_error=reported.append, retries=1)
    with pytest.raises(OutcomeUnknown) as caught:
        call(failing, "add_messages", [HumanMessage("secret words")])
    assert reported == [caught.value]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("chatstash", logging.ERROR)
    assert record.getMessage() == (
        r"Adding messages to 'message_store:s\nERROR chatstash: all is lost' failed: OutcomeUnknownAfterConnectionLoss."
        " It is unknown whether the write was applied. Call check_outcome(error) before you write the same again."
    )
    assert record.exc_info is None


def test_neither_messages_nor_the_token_are_logged(
    upstash: LocalUpstash, caplog: pytest.LogCaptureFixture, run: Callable[..., Any]
) -> None:
    run("SET", "message_store:s", "x")
    secret = "secret words"
    wrong: list[Any] = [
        [HumanMessage(secret)],
        [HumanMessage("a", additional_kwargs={secret: object()})],
        [HumanMessage("a"), secret],
        secret,
    ]
    outcomes = ["Nothing was changed by this request.", "no message was sent or stored."]
    for messages in wrong:
        with pytest.raises((DatabaseError, UnstorableMessage)):
            history(upstash, ttl=None).add_messages(messages)
    assert len(caplog.records) == len(wrong)
    assert secret not in caplog.text
    assert upstash.token not in caplog.text
    assert all(any(outcome in record.getMessage() for outcome in outcomes) for record in caplog.records)


def test_the_error_of_a_hook_is_logged_and_does_not_hide_that_of_the_write(
    upstash: LocalUpstash, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Exception) -> None:
        raise KeyError("the hook's own")

    upstash.faults.add("throttled")
    with pytest.raises(RateLimited):
        history(upstash, retries=0, on_write_error=fail).add_messages([HumanMessage("a")])
    assert ["on_write_error" in record.getMessage() for record in caplog.records] == [False, True]
    assert "the hook's own" in caplog.text
    assert "RateLimited" not in caplog.text.split("on_write_error")[1]


def test_a_successful_write_is_not_reported(upstash: LocalUpstash, caplog: pytest.LogCaptureFixture) -> None:
    reported: list[Exception] = []
    history(upstash, on_write_error=reported.append).add_messages([HumanMessage("a")])
    assert (reported, caplog.records) == ([], [])


async def _coroutine(_: Exception) -> None: ...


@pytest.mark.parametrize("hook", ["log", 7, _coroutine])
def test_a_hook_that_would_never_run_is_refused(hook: Any) -> None:
    with pytest.raises(ValueError, match="on_write_error must be a plain function"):
        UpstashRedisChatMessageHistory("s", "https://x.upstash.io", "t", on_write_error=hook)


def test_what_the_old_way_swallows_is_logged_and_reported(
    upstash: LocalUpstash, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Exception] = []
    upstash.faults.add("throttled", matching="LPUSH *")
    find = histories(upstash, retries=0, on_write_error=reported.append)
    assert ask(RunnableWithMessageHistory(answering("so."), find), "why?") == ["so."]
    assert [type(error) for error in reported] == [RateLimited]
    assert len([record for record in caplog.records if record.name == "chatstash"]) == 1
    assert stored(upstash) == []
