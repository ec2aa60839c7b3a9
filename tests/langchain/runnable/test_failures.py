"""Errors of reads, writes and the runnable reach the caller. If there is a reply, the error has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableGenerator, RunnableLambda

from chatstash import RateLimited, ReplyNotStored, UnstorableMessage, WrongType, with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import CONFIG, WAYS, answering, ask, collect, histories, model, stored, streaming


@pytest.mark.parametrize("way", WAYS)
def test_the_error_of_a_write_has_the_reply(upstash: LocalUpstash, way: str) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    with pytest.raises(RateLimited) as caught:
        ask(with_history(streaming("s", "o."), histories(upstash, retries=0)), "why?", way)
    assert caught.value.reply == "so."


class _Broken(InMemoryChatMessageHistory):
    """A history of another library whose writes fail."""

    error: Any = OSError("disk full")

    def add_messages(self, messages: Any) -> None:
        raise self.error

    async def aadd_messages(self, messages: Any) -> None:
        raise self.error


class _Sealed(OSError):
    @property
    def reply(self) -> str:
        return "its own"


def test_the_error_of_another_librarys_write_has_the_reply() -> None:
    error = OSError("disk full")
    with pytest.raises(OSError, match="disk full") as caught:
        ask(with_history(answering("so."), lambda _: _Broken(error=error)), "why?")
    assert caught.value is error
    assert error.reply == "so."  # type: ignore[attr-defined]


def test_an_error_that_cannot_have_the_reply_is_the_cause_of_one_that_has_it() -> None:
    error = _Sealed("disk full")
    with pytest.raises(ReplyNotStored) as caught:
        ask(with_history(answering("so."), lambda _: _Broken(error=error)), "why?")
    assert (caught.value.reply, caught.value.__cause__) == ("so.", error)


@pytest.mark.parametrize("way", ["invoke", "astream"])
def test_an_output_that_cannot_be_stored_is_in_the_error(upstash: LocalUpstash, way: str) -> None:
    with pytest.raises(ReplyNotStored) as caught:
        ask(with_history(answering({"a": 7}), histories(upstash)), "why?", way)
    assert caught.value.reply == {"a": 7}
    with pytest.raises(UnstorableMessage) as unstorable:
        ask(with_history(answering(AIMessage("a", additional_kwargs={"a": object()})), histories(upstash)), "?", way)
    assert "a" in str(unstorable.value.reply)


@pytest.mark.parametrize("way", ["invoke", "astream"])
def test_with_return_a_reply_that_could_not_be_stored_is_returned(
    upstash: LocalUpstash, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Exception] = []
    upstash.faults.add("throttled", matching="LPUSH *")
    find = histories(upstash, retries=0, on_write_error=reported.append)
    assert ask(with_history(answering("so."), find, on_write_failure="return"), "why?", way) == ["so."]
    assert [type(error) for error in reported] == [RateLimited]
    assert "The messages of a run could not be stored; its reply is returned: RateLimited." in caplog.text
    assert ask(with_history(answering(7), find, on_write_failure="return"), "why?", way) == [7]
    assert "ReplyNotStored" in caplog.text


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_the_error_of_a_read_is_raised_before_the_model_is_called(
    upstash: LocalUpstash, way: str, run: Callable[..., Any]
) -> None:
    run("SET", "message_store:s", "x")
    asked: list[Any] = []
    with pytest.raises(WrongType):
        ask(with_history(RunnableLambda(asked.append), histories(upstash)), "why?", way)
    assert asked == []


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_if_the_runnable_raises_nothing_is_appended(upstash: LocalUpstash, way: str) -> None:
    def fail(_: Any) -> Any:
        raise KeyError("the model's own")

    with pytest.raises(KeyError, match="the model's own"):
        ask(with_history(RunnableLambda(fail), histories(upstash)), "why?", way)
    assert stored(upstash) == []


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_if_the_runnable_raises_mid_stream_nothing_is_appended(upstash: LocalUpstash, way: str) -> None:
    def generate(_: Iterator[Any]) -> Iterator[str]:
        yield "s"
        raise KeyError("the model's own")

    async def agenerate(_: AsyncIterator[Any]) -> AsyncIterator[str]:
        yield "s"
        raise KeyError("the model's own")

    with pytest.raises(KeyError, match="the model's own"):
        ask(with_history(RunnableGenerator(generate, agenerate), histories(upstash)), "why?", way)
    assert stored(upstash) == []


def test_the_error_of_a_write_comes_after_the_last_chunk(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    chunks = with_history(streaming("s", "o."), histories(upstash, retries=0)).stream("why?", CONFIG)
    assert [next(chunks), next(chunks)] == ["s", "o."]
    with pytest.raises(RateLimited):
        next(chunks)


def test_the_error_of_a_write_ends_a_stream_of_events(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    chain = with_history(model(), histories(upstash, retries=0))
    with pytest.raises(RateLimited):
        asyncio.run(collect(chain.astream_events("why?", CONFIG, version="v2")))


def test_a_retry_around_it_answers_and_appends_again(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", times=1, matching="LPUSH *")
    chain = with_history(model(), histories(upstash, retries=0)).with_retry(
        retry_if_exception_type=(RateLimited,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert chain.invoke("why?", CONFIG).content == "And so on."
    assert stored(upstash) == [("human", "why?"), ("ai", "And so on.")]
