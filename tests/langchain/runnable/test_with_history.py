"""`with_history`: what it stores and costs, in every colour, and that no failing write goes unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import json
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import (
    AddableDict,
    ConfigurableField,
    ConfigurableFieldSpec,
    Runnable,
    RunnableConfig,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.runnables.history import RunnableWithMessageHistory

from chatstash import (
    DatabaseError,
    OutcomeUnknown,
    RateLimited,
    ReplyNotStored,
    UnstorableMessage,
    UpstashRedisChatMessageHistory,
    WrongType,
    with_history,
)
from chatstash.local import LocalUpstash

CONFIG: RunnableConfig = {"configurable": {"session_id": "s"}}
BEFORE: list[BaseMessage] = [HumanMessage("earlier?", id="h0"), AIMessage("earlier.", id="a0")]
CALL = {"name": "weather", "args": {"city": "Ōsaka"}, "id": "call_1", "type": "tool_call"}
WAYS = ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"]
Wrap = Callable[..., Runnable[Any, Any]]


def _history(upstash: LocalUpstash, session_id: str = "s", **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, **{"ttl": 60, **options})


def _histories(upstash: LocalUpstash, **options: Any) -> Callable[[str], UpstashRedisChatMessageHistory]:
    return lambda session_id: _history(upstash, session_id, **options)


def _say(chain: Runnable[Any, Any], value: Any, way: str = "invoke", config: RunnableConfig = CONFIG) -> list[Any]:
    """Run one input one way; returns the parts of the output."""
    if way == "stream":
        return list(chain.stream(value, config))
    if way == "astream":
        return asyncio.run(_all(chain.astream(value, config)))
    if way in ("batch", "abatch"):
        given = ([value], [config])
        return asyncio.run(chain.abatch(*given)) if way == "abatch" else chain.batch(*given)
    return [asyncio.run(chain.ainvoke(value, config)) if way == "ainvoke" else chain.invoke(value, config)]


async def _all(parts: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in parts]


def _said(upstash: LocalUpstash, session_id: str = "s") -> list[tuple[str, Any]]:
    return [(message.type, message.content) for message in _history(upstash, session_id).messages]


def _answer(value: Any) -> Runnable[Any, Any]:
    return RunnableLambda(lambda _: value)


def _parts(*parts: Any) -> Runnable[Any, Any]:
    def generate(_: Iterator[Any]) -> Iterator[Any]:
        yield from parts

    async def agenerate(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for part in parts:
            yield part

    return RunnableGenerator(generate, agenerate)


PROMPT = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
ALL = ChatPromptTemplate.from_messages([("system", "Be terse."), MessagesPlaceholder("messages")])
TOOL = [AIMessage("", id="a1", tool_calls=[CALL]), ToolMessage("sun", tool_call_id="call_1", artifact={"degrees": 31})]


def _model(answer: str = "It is so.") -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(answer, id="a1"), AIMessage("And so on.", id="a2")]))


IN_DICT = {"input_messages_key": "question", "history_messages_key": "history"}
OUT = {**IN_DICT, "output_messages_key": "answer"}
QUESTION = {"question": "why?", "tone": "kind"}
SHAPES: dict[str, tuple[Callable[[], Runnable[Any, Any]], Any, dict[str, str]]] = {
    "model, str": (_model, "why?", {}),
    "model, message": (_model, HumanMessage("why?", id="h1"), {}),
    "model, messages": (_model, [SystemMessage("Be kind."), HumanMessage("why?", name="Ann")], {}),
    "model, tuple of messages": (_model, (HumanMessage("why?"), HumanMessage("how?")), {}),
    "model, list in a list": (_model, [[HumanMessage("why?")]], {}),
    "model, pairs": (_model, [("system", "Be kind."), ("human", "why?")], {}),
    "model, dict with one key": (_model, {"anything": "why?"}, {}),
    "model, dict with the usual key": (_model, {"input": [HumanMessage("why?")], "other": 1}, {}),
    "model, a tool's result": (_model, TOOL[1:], {}),
    "chain, str": (lambda: _model() | StrOutputParser(), "why?", {}),
    "function, str": (lambda: _answer("so."), "why?", {}),
    "function, message": (lambda: _answer(AIMessage("so.", id="a1")), "why?", {}),
    "function, messages": (lambda: _answer([*TOOL, AIMessage("so.")]), "why?", {}),
    "function, tuple": (lambda: _answer((*TOOL, AIMessage("so."))), "why?", {}),
    "function, no messages": (lambda: _answer([]), "why?", {}),
    "function, dict with one key": (lambda: _answer({"anything": "so."}), "why?", {}),
    "function, dict with the usual key": (lambda: _answer({"output": AIMessage("so."), "cost": 1}), "why?", {}),
    "function, output key": (
        lambda: _answer({"answer": [AIMessage("so.")], "output": "no"}), "why?", {"output_messages_key": "answer"},
    ),
    "prompt, all in one key": (
        lambda: ALL | _model(), {"messages": [HumanMessage("why?")], "n": 1}, {"input_messages_key": "messages"},
    ),
    "prompt, all in one key, str": (lambda: ALL | _model(), {"messages": "why?"}, {"input_messages_key": "messages"}),
    "prompt, history": (lambda: PROMPT | _model(), QUESTION, IN_DICT),
    "prompt, history, the usual key": (
        lambda: RunnablePassthrough.assign(question=lambda given: given["input"]) | PROMPT | _model(),
        {"input": "why?"}, {"history_messages_key": "history"},
    ),
    "prompt, history, message": (
        lambda: ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), MessagesPlaceholder("question")])
        | _model(),
        {"question": [HumanMessage("why?", additional_kwargs={"n": 1})]}, IN_DICT,
    ),
    "prompt, history, output key": (
        lambda: RunnablePassthrough.assign(answer=PROMPT | _model() | StrOutputParser()), QUESTION, OUT,
    ),
    "prompt, history, dict with one key": (
        lambda: (PROMPT | _model()).with_config(run_name="x") | (lambda message: {"reply": message}), QUESTION, IN_DICT,
    ),
    "parts, str": (lambda: _parts("s", "o", "."), "why?", {}),
    "parts, dicts": (
        lambda: _parts(AddableDict(sources=["a"]), AddableDict(answer="s"), AddableDict(answer="o.")),
        "why?", {"output_messages_key": "answer"},
    ),
    "parts, tool call": (
        lambda: _parts(
            AIMessageChunk("", id="a1", tool_call_chunks=[{"name": "w", "args": '{"ci', "id": "c", "index": 0}]),
            AIMessageChunk("", id="a1", tool_call_chunks=[{"name": None, "args": 'ty":1}', "id": None, "index": 0}]),
        ),
        "why?", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_undisturbed_it_stores_what_the_old_way_stores(upstash: LocalUpstash, shape: str, way: str) -> None:
    make, value, keys = SHAPES[shape]
    for session_id, wrap in (("old", RunnableWithMessageHistory), ("new", with_history)):
        _history(upstash, session_id).add_messages(BEFORE)
        chain = wrap(make(), _histories(upstash), **keys)
        for _ in range(2):
            assert _say(chain, value, way, {"configurable": {"session_id": session_id}})
    old, new = (_history(upstash, session_id).messages for session_id in ("old", "new"))
    assert len(new) > len(BEFORE) + 1
    # The intended differences: of a stream, the old way stores chunks, and a prompt that is repeated, again.
    stored = [message_chunk_to_message(message) for message in old]
    prompts = [message for message in stored if message.type == "system"]
    assert new == [message for message in stored if message.type != "system" or message is prompts[0]]


@pytest.mark.parametrize("shape", ["model, str", "prompt, all in one key", "prompt, history"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_the_model_is_given_what_the_old_way_gives_it(upstash: LocalUpstash, shape: str, way: str) -> None:
    make, value, keys = SHAPES[shape]
    _history(upstash).add_messages(BEFORE)
    given: list[Any] = []

    class Watching(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            given.append(messages)

    for wrap in (RunnableWithMessageHistory, with_history):
        chain = wrap(make(), _histories(upstash), **keys)
        _say(chain, value, way, {**CONFIG, "callbacks": [Watching()]})
        _history(upstash).clear()
        _history(upstash).add_messages(BEFORE)
    assert len(given) == 2
    assert given[0] == given[1]
    assert given[0][0][-1] == HumanMessage("why?")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("keys", [{}, IN_DICT])
@pytest.mark.parametrize(("ttl", "cost"), [(60, (2, 3)), (None, (2, 2))])
def test_a_turn_is_two_requests(
    upstash: LocalUpstash, way: str, keys: dict[str, str], ttl: int | None, cost: tuple[int, int]
) -> None:
    chain = with_history(PROMPT | _model() if keys else _model(), _histories(upstash, ttl=ttl), **keys)
    for _ in range(2):
        before = upstash.stats
        _say(chain, QUESTION if keys else "why?", way)
        spent = upstash.stats - before
        assert (spent.requests, spent.commands) == cost
    assert _said(upstash) == [("human", "why?"), ("ai", "It is so."), ("human", "why?"), ("ai", "And so on.")]


# The two faults of the old way. Each is shown there first, so that the test of the new way is one that can fail.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wrap", "kept"), [(RunnableWithMessageHistory, False), (with_history, True)])
def test_a_concurrent_turn_does_not_make_the_question_vanish(
    upstash: LocalUpstash, way: str, wrap: Wrap, kept: bool
) -> None:
    def answer(_: Any) -> str:
        _history(upstash).add_messages([HumanMessage("another's?"), AIMessage("another's.")])
        return "mine."

    _say(wrap(RunnableLambda(answer), _histories(upstash)), "mine?", way)
    mine = [("human", "mine?")] if kept else []
    assert _said(upstash) == [("human", "another's?"), ("ai", "another's."), *mine, ("ai", "mine.")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wrap", "comes_back"), [(RunnableWithMessageHistory, True), (with_history, False)])
def test_a_cleared_conversation_stays_cleared(upstash: LocalUpstash, way: str, wrap: Wrap, comes_back: bool) -> None:
    def answer(_: Any) -> str:
        _history(upstash).clear()
        return "so."

    _history(upstash).add_messages(BEFORE)
    _say(wrap(RunnableLambda(answer), _histories(upstash)), "why?", way)
    earlier = [("human", "earlier?"), ("ai", "earlier.")] if comes_back else []
    assert _said(upstash) == [*earlier, ("human", "why?"), ("ai", "so.")]


@pytest.mark.parametrize("way", WAYS)
def test_the_old_way_swallows_the_error_of_a_write_and_the_log_and_the_hook_tell(
    upstash: LocalUpstash, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Exception] = []
    upstash.faults.add("throttled", matching="LPUSH *")
    histories = _histories(upstash, retries=0, on_write_error=told.append)
    assert _say(RunnableWithMessageHistory(_answer("so."), histories), "why?", way) == ["so."]
    assert [type(error) for error in told] == [RateLimited]
    assert len([record for record in caplog.records if record.name == "chatstash"]) == 1
    assert _said(upstash) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("fault", "error"), [("throttled", RateLimited), ("reply_lost", OutcomeUnknown)])
def test_the_error_of_a_write_reaches_the_caller(
    upstash: LocalUpstash, way: str, fault: Any, error: type[Exception]
) -> None:
    upstash.faults.add(fault, matching="LPUSH *")
    with pytest.raises(error):
        _say(with_history(_model(), _histories(upstash, retries=0)), "why?", way)


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


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("error", [OSError("disk full"), _Sealed("disk full")])
def test_the_error_of_a_write_carries_the_reply(upstash: LocalUpstash, way: str, error: OSError) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    with pytest.raises(RateLimited) as caught:
        _say(with_history(_parts("s", "o."), _histories(upstash, retries=0)), "why?", way)
    assert caught.value.reply == "so."
    expected = ReplyNotStored if isinstance(error, _Sealed) else OSError
    with pytest.raises(expected) as other:
        _say(with_history(_parts("s", "o."), lambda _: _Broken(error=error)), "why?", way)
    assert other.value.reply == "so."  # type: ignore[attr-defined]
    assert error in (other.value, other.value.__cause__)


@pytest.mark.parametrize("way", WAYS)
def test_an_output_that_cannot_be_stored_is_in_the_error(upstash: LocalUpstash, way: str) -> None:
    with pytest.raises(ReplyNotStored) as caught:
        _say(with_history(_answer({"a": 7}), _histories(upstash)), "why?", way)
    assert caught.value.reply == {"a": 7}
    with pytest.raises(UnstorableMessage) as unstorable:
        _say(with_history(_answer(AIMessage("a", additional_kwargs={"a": object()})), _histories(upstash)), "?", way)
    assert "a" in str(unstorable.value.reply)


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_that_could_not_be_stored_is_returned_where_that_is_wanted(
    upstash: LocalUpstash, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Exception] = []
    upstash.faults.add("throttled", matching="LPUSH *")
    histories = _histories(upstash, retries=0, on_write_error=told.append)
    assert _say(with_history(_answer("so."), histories, on_write_failure="return"), "why?", way) == ["so."]
    assert [type(error) for error in told] == [RateLimited]
    assert "The messages of a run could not be stored; its reply is returned: RateLimited." in caplog.text
    assert _say(with_history(_answer(7), histories, on_write_failure="return"), "why?", way) == [7]
    assert "ReplyNotStored" in caplog.text


@pytest.mark.parametrize("way", WAYS)
def test_an_async_factory_is_awaited_in_async_runs_and_refused_in_blocking_ones(
    upstash: LocalUpstash, way: str
) -> None:
    async def find(session_id: str) -> UpstashRedisChatMessageHistory:
        await asyncio.sleep(0)
        return _history(upstash, session_id)

    before = upstash.stats

    def find_later(session_id: str) -> Any:
        return find(session_id)

    for factory in (find, functools.partial(find), find_later):
        chain = with_history(_answer("so."), factory)
        if way.startswith("a"):
            assert _say(chain, "why?", way) == ["so."]
            continue
        with pytest.raises(ValueError, match=r"get_session_history is async def.*Nothing was read"):
            _say(chain, "why?", way)
        assert upstash.stats == before
    assert len(_said(upstash)) == (6 if way.startswith("a") else 0)


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_factory_that_returns_no_history_is_told(way: str) -> None:
    with pytest.raises(ValueError, match="must return a chat message history, not a NoneType"):
        _say(with_history(_answer("so."), lambda _: None), "why?", way)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("way", WAYS)
def test_the_error_of_a_read_reaches_the_caller_before_the_model_is_asked(
    upstash: LocalUpstash, way: str, run: Callable[..., Any]
) -> None:
    run("SET", "message_store:s", "x")
    asked: list[Any] = []
    with pytest.raises(WrongType):
        _say(with_history(RunnableLambda(asked.append), _histories(upstash)), "why?", way)
    assert asked == []


@pytest.mark.parametrize("way", WAYS)
def test_where_the_runnable_raises_nothing_is_appended(upstash: LocalUpstash, way: str) -> None:
    def fail(_: Any) -> Any:
        raise KeyError("the model's own")

    with pytest.raises(KeyError, match="the model's own"):
        _say(with_history(RunnableLambda(fail), _histories(upstash)), "why?", way)
    assert _said(upstash) == []


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_where_the_runnable_raises_amid_its_stream_nothing_is_appended(upstash: LocalUpstash, way: str) -> None:
    def generate(_: Iterator[Any]) -> Iterator[str]:
        yield "s"
        raise KeyError("the model's own")

    async def agenerate(_: AsyncIterator[Any]) -> AsyncIterator[str]:
        yield "s"
        raise KeyError("the model's own")

    with pytest.raises(KeyError, match="the model's own"):
        _say(with_history(RunnableGenerator(generate, agenerate), _histories(upstash)), "why?", way)
    assert _said(upstash) == []


# Streams


def test_a_stream_passes_its_parts_on_as_they_come_and_appends_before_it_ends(upstash: LocalUpstash) -> None:
    parts = with_history(_parts("s", "o."), _histories(upstash)).stream("why?", CONFIG)
    assert [next(parts), next(parts)] == ["s", "o."]
    assert _said(upstash) == []
    with pytest.raises(StopIteration):
        next(parts)
    assert _said(upstash) == [("human", "why?"), ("ai", "so.")]


def test_an_async_stream_passes_its_parts_on_as_they_come_and_appends_before_it_ends(upstash: LocalUpstash) -> None:
    async def main() -> None:
        parts = with_history(_parts("s", "o."), _histories(upstash)).astream("why?", CONFIG)
        assert [await anext(parts), await anext(parts)] == ["s", "o."]
        assert await _history(upstash).aget_messages() == []
        with pytest.raises(StopAsyncIteration):
            await anext(parts)
        assert len(await _history(upstash).aget_messages()) == 2

    asyncio.run(main())


def test_the_error_of_a_streams_append_comes_after_its_last_part(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    parts = with_history(_parts("s", "o."), _histories(upstash, retries=0)).stream("why?", CONFIG)
    assert [next(parts), next(parts)] == ["s", "o."]
    with pytest.raises(RateLimited):
        next(parts)


def test_a_streamed_reply_is_stored_as_a_whole_message(upstash: LocalUpstash) -> None:
    _say(with_history(_model(), _histories(upstash)), "why?", "stream")
    assert _history(upstash).messages[1] == AIMessage("It is so.", id="a1")


def test_whole_messages_of_a_stream_are_stored_one_by_one(upstash: LocalUpstash) -> None:
    _say(with_history(_parts(*TOOL, AIMessage("so.")), _histories(upstash)), "why?", "stream")
    assert _history(upstash).messages == [HumanMessage("why?"), *TOOL, AIMessage("so.")]


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    "parts",
    [
        ({"answer": "s"}, {"answer": "so."}),
        ({"answer": "s"}, {"answer": "o."}),
        (AIMessageChunk("s", response_metadata={"p": 0.5}), None, AIMessageChunk("o.", response_metadata={"p": True})),
    ],
)
def test_parts_are_stored_whole_and_passed_on_as_they_are(upstash: LocalUpstash, way: str, parts: Any) -> None:
    class Parts(Runnable[Any, Any]):
        def invoke(self, *args: Any, **kwargs: Any) -> Any: ...

        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            yield from parts

        async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for part in parts:
                yield part

    assert _say(with_history(Parts(), _histories(upstash)), "why?", way) == list(parts)
    assert _said(upstash) == [("human", "why?"), ("ai", "so.")]


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_of_an_empty_stream_the_question_is_stored(upstash: LocalUpstash, way: str) -> None:
    assert _say(with_history(_parts(), _histories(upstash)), "why?", way) == []
    assert _said(upstash) == [("human", "why?")]


# A consumer that stops early


def _stopped_by_close(chain: Runnable[Any, Any], value: Any, parts: int) -> None:
    stream: Any = chain.stream(value, CONFIG)
    for _ in range(parts):
        next(stream)
    stream.close()


def _stopped_by_break(chain: Runnable[Any, Any], value: Any, parts: int) -> None:
    for number, _ in enumerate(chain.stream(value, CONFIG), 1):
        if number == parts:
            break


def _stopped_by_aclose(chain: Runnable[Any, Any], value: Any, parts: int) -> None:
    async def main() -> None:
        stream: Any = chain.astream(value, CONFIG)
        for _ in range(parts):
            await anext(stream)
        await stream.aclose()

    asyncio.run(main())


def _stopped_by_cancel(chain: Runnable[Any, Any], value: Any, parts: int) -> None:
    """Cancel the consumer while it waits for the part after the last that comes."""

    async def main() -> None:
        enough = asyncio.Event()

        async def consume() -> None:
            number = 0
            async for _ in chain.astream(value, CONFIG):
                number += 1
                if number == parts:
                    enough.set()

        task = asyncio.create_task(consume())
        await enough.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


STOPS = [_stopped_by_close, _stopped_by_break, _stopped_by_aclose, _stopped_by_cancel]
Stop = Callable[[Runnable[Any, Any], Any, int], None]


def _stalling(*parts: Any, closed: list[bool] | None = None) -> Runnable[Any, Any]:
    """Yield parts, and then, if asked for more, wait for ever (async) or fail (sync)."""

    def generate(_: Iterator[Any]) -> Iterator[Any]:
        yield from parts
        raise AssertionError("asked for more than the test takes")

    async def agenerate(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for part in parts:
            yield part
        await asyncio.Event().wait()

    return RunnableGenerator(generate, agenerate)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    ("parts", "keys"),
    [
        (("s", "o"), {}),
        ((AIMessageChunk("s", id="a1"), AIMessageChunk("o", id="a1")), {}),
        ((AddableDict(sources=["a"]), AddableDict(answer="so")), {"output_messages_key": "answer"}),
    ],
)
def test_a_reply_stopped_midway_is_kept(upstash: LocalUpstash, stop: Stop, parts: Any, keys: dict[str, str]) -> None:
    stop(with_history(_stalling(*parts), _histories(upstash), **keys), "why?", 2)
    question, reply = _history(upstash).messages
    assert question == HumanMessage("why?")
    assert isinstance(reply, AIMessage)
    assert (reply.type, reply.content, reply.response_metadata) == ("ai", "so", {"interrupted": True})


@pytest.mark.parametrize("stop", STOPS)
def test_of_a_reply_stopped_midway_only_text_is_kept(upstash: LocalUpstash, stop: Stop) -> None:
    blocks: Any = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I look.", "index": 1}]
    call: Any = {"name": "weather", "args": '{"ci', "id": "c", "index": 2}
    chunks = [AIMessageChunk(blocks, id="a1"), AIMessageChunk("", tool_call_chunks=[call])]
    stop(with_history(_stalling(*chunks), _histories(upstash)), "Weather?", 2)
    reply = _history(upstash).messages[1]
    assert reply == AIMessage("I look.", id="a1", response_metadata={"interrupted": True})


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    "part",
    [
        AIMessageChunk("", tool_call_chunks=[{"name": "weather", "args": "{", "id": "c", "index": 0}]),
        AddableDict(context="what was found"),
        AddableDict(output=None),
    ],
)
def test_nothing_is_kept_of_a_reply_stopped_before_its_text(upstash: LocalUpstash, stop: Stop, part: Any) -> None:
    stop(with_history(_stalling(part), _histories(upstash)), "why?", 1)
    assert _said(upstash) == []


@pytest.mark.parametrize("stop", STOPS)
def test_a_reply_stopped_midway_is_not_kept_if_that_is_unwanted(upstash: LocalUpstash, stop: Stop) -> None:
    stop(with_history(_stalling("s", "o"), _histories(upstash), keep_partial=False), "why?", 2)
    assert _said(upstash) == []


def test_the_runnable_is_stopped_before_what_came_is_appended(upstash: LocalUpstash) -> None:
    events: list[str] = []

    class Watched(UpstashRedisChatMessageHistory):
        def add_messages(self, messages: Any) -> None:
            events.append("appended")
            super().add_messages(messages)

        async def aadd_messages(self, messages: Any) -> None:
            events.append("appended")
            await super().aadd_messages(messages)

    class Model(FakeListChatModel):
        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with contextlib.ExitStack() as stack:
                stack.callback(events.append, "stopped")
                yield from super().stream(*args, **kwargs)

        async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with contextlib.ExitStack() as stack:
                stack.callback(events.append, "stopped")
                async for part in super().astream(*args, **kwargs):
                    yield part

    chain = with_history(Model(responses=["so."]), lambda _: Watched("s", upstash.url, upstash.token))
    for stop in (_stopped_by_close, _stopped_by_aclose):
        stop(chain, "why?", 1)
    assert events == ["stopped", "appended", "stopped", "appended"]


def test_the_error_of_keeping_a_stopped_reply_reaches_who_closes_the_stream(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    chain = with_history(_stalling("s"), _histories(upstash, retries=0))
    for stop in (_stopped_by_close, _stopped_by_aclose):
        with pytest.raises(RateLimited):
            stop(chain, "why?", 1)


class _Slow:
    """A history in memory whose async write waits to be let through."""

    def __init__(self, error: Exception | None = None) -> None:
        self.messages: list[BaseMessage] = []
        self.writing = asyncio.Event()
        self.let_through = asyncio.Event()
        self.written = asyncio.Event()
        self.error = error

    async def aget_messages(self) -> list[BaseMessage]:
        return self.messages

    def add_messages(self, messages: Any) -> None:
        raise AssertionError("blocking")

    async def aadd_messages(self, messages: Any) -> None:
        self.writing.set()
        await self.let_through.wait()
        self.written.set()
        if self.error:
            raise self.error
        self.messages = [*self.messages, *messages]


async def _cancelled_twice(history: _Slow, chain: Runnable[Any, Any], *, cancels: int) -> None:
    """Cancel while the model is waited for, and again while the write is, as anyio's cancel scopes do."""

    async def consume() -> None:
        async for _ in chain.astream("why?", CONFIG):
            begun.set()

    begun = asyncio.Event()
    task = asyncio.create_task(consume())
    await begun.wait()
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
        if not history.writing.is_set() and cancels > 1:
            await history.writing.wait()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_write_goes_on_where_its_caller_is_cancelled_again(upstash: LocalUpstash) -> None:
    async def main() -> None:
        history = _Slow()
        await _cancelled_twice(history, with_history(_stalling("s"), lambda _: history), cancels=2)
        assert history.messages == []
        history.let_through.set()
        await history.written.wait()
        assert [message.content for message in history.messages] == ["why?", "s"]

    asyncio.run(main())


def test_a_write_that_goes_on_is_not_collected_as_garbage() -> None:
    class Forgetful(_Slow):
        async def aadd_messages(self, messages: Any) -> None:
            done = asyncio.get_running_loop().create_future()
            self.done = weakref.ref(done)
            self.writing.set()
            await done

    async def main() -> None:
        history = Forgetful()
        await _cancelled_twice(history, with_history(_stalling("s"), lambda _: history), cancels=2)
        await asyncio.sleep(0)  # lets go of the consumer's task, whose traceback holds the write's
        gc.collect()
        done = history.done()
        assert done is not None
        done.set_result(None)

    asyncio.run(main())


def test_a_write_that_goes_on_and_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        history = _Slow(RateLimited("secret words"))
        await _cancelled_twice(history, with_history(_stalling("s"), lambda _: history), cancels=2)
        history.let_through.set()
        await history.written.wait()
        await asyncio.sleep(0)

    asyncio.run(main())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("chatstash", logging.ERROR)
    assert record.getMessage() == "The messages of a cancelled run could not be stored: RateLimited."


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
def test_a_whole_turn_is_stored_though_its_caller_is_cancelled_meanwhile(way: str) -> None:
    async def main() -> None:
        history = _Slow()
        chain = with_history(_answer("so."), lambda _: history)
        running = chain.ainvoke("why?", CONFIG) if way == "ainvoke" else _all(chain.astream("why?", CONFIG))
        task = asyncio.ensure_future(running)
        await history.writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        history.let_through.set()
        await history.written.wait()
        assert [message.content for message in history.messages] == ["why?", "so."]

    asyncio.run(main())


# Batches


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_each_item_of_a_batch_has_its_session(upstash: LocalUpstash, colour: str) -> None:
    chain = with_history(RunnableLambda(lambda said: f"{len(said)}: {said[-1].content}"), _histories(upstash))
    configs: list[RunnableConfig] = [{"configurable": {"session_id": name}} for name in "abc"]
    _history(upstash, "b").add_messages(BEFORE)
    run = chain.batch if colour == "sync" else lambda *given: asyncio.run(chain.abatch(*given))
    assert run(["one", "two", "three"], configs) == ["1: one", "3: two", "1: three"]
    assert _said(upstash, "a") == [("human", "one"), ("ai", "1: one")]
    assert _said(upstash, "b")[2:] == [("human", "two"), ("ai", "3: two")]
    assert _said(upstash, "c") == [("human", "three"), ("ai", "1: three")]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_items_of_a_batch_may_share_a_session(upstash: LocalUpstash, colour: str) -> None:
    chain = with_history(_answer("so."), _histories(upstash))
    run = chain.batch if colour == "sync" else lambda *given: asyncio.run(chain.abatch(*given))
    assert run(["one?", "two?", "three?"], CONFIG) == ["so."] * 3
    said = _said(upstash)
    assert {(said[at], said[at + 1]) for at in (0, 2, 4)} == {
        (("human", question), ("ai", "so.")) for question in ("one?", "two?", "three?")
    }


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_batch_gives_back_the_errors_of_writes_where_asked_to(upstash: LocalUpstash, colour: str) -> None:
    chain = with_history(_answer("so."), _histories(upstash, retries=0))
    configs: list[RunnableConfig] = [{"configurable": {"session_id": name}} for name in "ab"]
    upstash.faults.add("throttled", matching="LPUSH message_store:b*")
    run = chain.batch if colour == "sync" else lambda *given, **more: asyncio.run(chain.abatch(*given, **more))
    first, second = run(["one?", "two?"], configs, return_exceptions=True)
    assert first == "so."
    assert isinstance(second, RateLimited)


# In chains


@pytest.mark.parametrize("way", WAYS)
def test_it_is_a_step_of_a_chain(upstash: LocalUpstash, way: str) -> None:
    chain = (
        RunnableLambda(lambda text: {"question": text + "?", "history": "overwritten"})
        | with_history(PROMPT | _model(), _histories(upstash), **IN_DICT)
        | StrOutputParser()
    )
    assert "".join(_say(chain, "why", way)) == "It is so."
    assert _said(upstash) == [("human", "why?"), ("ai", "It is so.")]


@pytest.mark.parametrize("stop", [_stopped_by_close, _stopped_by_break])
def test_a_chain_around_it_that_is_stopped_early_keeps_the_turn(upstash: LocalUpstash, stop: Stop) -> None:
    stop(with_history(_parts("s", "o."), _histories(upstash)) | StrOutputParser(), "why?", 1)
    # A parser of langchain-core reads its input to the end when it is closed.
    assert _said(upstash) == [("human", "why?"), ("ai", "so.")]


def test_an_async_chain_around_it_that_is_stopped_early_keeps_the_turn() -> None:
    async def main() -> None:
        history = _Slow()
        history.let_through.set()
        chain = with_history(_stalling("s"), lambda _: history) | StrOutputParser()
        stream: Any = chain.astream("why?", CONFIG)
        assert await anext(stream) == "s"
        await stream.aclose()
        del stream
        gc.collect()
        await history.written.wait()
        assert [message.content for message in history.messages] == ["why?", "s"]

    asyncio.run(main())


def test_it_takes_its_session_from_a_bound_config(upstash: LocalUpstash) -> None:
    chain = with_history(_answer("so."), _histories(upstash)).with_config(configurable={"session_id": "bound"})
    chain.invoke("why?")
    assert _said(upstash, "bound") == [("human", "why?"), ("ai", "so.")]


def test_it_takes_its_session_from_the_chain_it_is_called_in(upstash: LocalUpstash) -> None:
    inner = with_history(_answer("so."), _histories(upstash))

    def outer(text: str) -> Any:
        return inner.invoke(text)

    RunnableLambda(outer).invoke("why?", CONFIG)
    assert _said(upstash) == [("human", "why?"), ("ai", "so.")]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_bound_arguments_reach_the_runnable(upstash: LocalUpstash, way: str) -> None:
    seen: list[Any] = []

    class Model(FakeListChatModel):
        def _call(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
            seen.append((stop, kwargs))
            return super()._call(messages, stop, run_manager, **kwargs)

        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
            seen.append((stop, kwargs))
            yield from super()._stream(messages, stop, run_manager, **kwargs)

        async def _astream(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> AsyncIterator[Any]:
            seen.append((stop, kwargs))
            async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
                yield chunk

    chain = with_history(Model(responses=["so."]), _histories(upstash)).bind(stop=["x"], seed=7)
    _say(chain, "why?", way)
    assert seen == [(["x"], {"seed": 7})]


def test_retries_around_it_answer_and_append_anew(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", times=1, matching="LPUSH *")
    chain = with_history(_model(), _histories(upstash, retries=0)).with_retry(
        retry_if_exception_type=(RateLimited,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert chain.invoke("why?", CONFIG).content == "And so on."
    assert _said(upstash) == [("human", "why?"), ("ai", "And so on.")]


def test_the_whole_config_reaches_the_runnable(upstash: LocalUpstash) -> None:
    started: list[Any] = []

    class Watching(BaseCallbackHandler):
        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            started.append((kwargs["name"], kwargs["tags"], kwargs["metadata"]["user"], inputs))

    config: RunnableConfig = {**CONFIG, "callbacks": [Watching()], "tags": ["t"], "metadata": {"user": "Ann"}}
    with_history(_answer("so."), _histories(upstash)).invoke("why?", {**config, "run_name": "chat"})
    assert started == [("chat", ["t"], "Ann", [HumanMessage("why?")])]


def test_the_runnable_finds_the_history_where_the_old_way_puts_it(upstash: LocalUpstash) -> None:
    def answer(_: Any, config: RunnableConfig) -> str:
        return config["configurable"]["message_history"].session_id

    assert with_history(RunnableLambda(answer), _histories(upstash)).invoke("who?", CONFIG) == "s"


def test_configurable_fields_of_the_runnable_are_configurable(upstash: LocalUpstash) -> None:
    model = FakeListChatModel(responses=["so."]).configurable_fields(responses=ConfigurableField(id="replies"))
    chain = with_history(model, _histories(upstash))
    assert sorted(spec.id for spec in chain.config_specs) == ["idempotency_key", "replies", "session_id"]
    config: RunnableConfig = {"configurable": {"session_id": "s", "replies": ["thus."]}}
    assert chain.invoke("why?", config).content == "thus."


def test_events_and_the_log_of_a_run_work_by_inheritance(upstash: LocalUpstash) -> None:
    chain = with_history(PROMPT | _model(), _histories(upstash), **IN_DICT)

    async def main() -> None:
        kinds = [event["event"] async for event in chain.astream_events(QUESTION, CONFIG, version="v2")]
        assert kinds[0] == "on_chain_start"
        assert kinds.count("on_chat_model_stream") >= 5
        assert kinds[-1] == "on_chain_end"
        patches = [patch async for patch in chain.astream_log(QUESTION, CONFIG)]
        assert any("final_output" in operation["path"] for patch in patches for operation in patch.ops)

    asyncio.run(main())
    assert _said(upstash) == [("human", "why?"), ("ai", "It is so."), ("human", "why?"), ("ai", "And so on.")]


def test_errors_of_writes_reach_who_asks_for_events(upstash: LocalUpstash) -> None:
    upstash.faults.add("throttled", matching="LPUSH *")
    chain = with_history(_model(), _histories(upstash, retries=0))
    with pytest.raises(RateLimited):
        asyncio.run(_all(chain.astream_events("why?", CONFIG, version="v2")))


def test_its_schemas_say_what_it_takes_and_gives(upstash: LocalUpstash) -> None:
    chain = with_history(PROMPT | _model() | StrOutputParser(), _histories(upstash), **IN_DICT)
    assert chain.get_input_jsonschema()["type"] == "object"
    assert chain.get_output_jsonschema()["type"] == "string"
    assert "session_id" in json.dumps(chain.get_config_jsonschema())
    assert "anyOf" in with_history(_model(), _histories(upstash)).get_input_jsonschema()
    assert len(chain.get_graph().nodes) == 3


def test_a_plain_function_may_answer(upstash: LocalUpstash) -> None:
    chain: Runnable[Any, Any] = with_history(lambda said: f"{len(said)} said", _histories(upstash))
    assert [chain.invoke("a", CONFIG), chain.invoke("b", CONFIG)] == ["1 said", "3 said"]


# Which history


def _fields(*names: str) -> list[ConfigurableFieldSpec]:
    return [ConfigurableFieldSpec(id=name, annotation=str) for name in names]


def test_fields_of_ones_own_name_the_history(upstash: LocalUpstash) -> None:
    def find(user: str, thread: str) -> UpstashRedisChatMessageHistory:
        return _history(upstash, f"{user}/{thread}")

    chain = with_history(_answer("so."), find, history_factory_config=_fields("thread", "user"))
    assert [spec.id for spec in chain.config_specs] == ["idempotency_key", "thread", "user"]
    chain.invoke("why?", {"configurable": {"user": "ann", "thread": "1"}})
    assert _said(upstash, "ann/1") == [("human", "why?"), ("ai", "so.")]
    with pytest.raises(ValueError, match=r"lacks 'user'.*chain\.invoke"):
        chain.invoke("why?", {"configurable": {"thread": "1"}})


def test_one_field_of_ones_own_is_given_by_position(upstash: LocalUpstash) -> None:
    chain = with_history(_answer("so."), _histories(upstash), history_factory_config=_fields("user"))
    chain.invoke("why?", {"configurable": {"user": "ann"}})
    assert len(_said(upstash, "ann")) == 2


def test_a_history_may_be_found_without_any_field(upstash: LocalUpstash) -> None:
    with_history(_answer("so."), lambda: _history(upstash)).invoke("why?")
    assert len(_said(upstash)) == 2


def test_a_factory_may_take_any_keywords_or_have_defaults(upstash: LocalUpstash) -> None:
    given: list[Any] = []

    def anything(**fields: str) -> UpstashRedisChatMessageHistory:
        given.append(fields)
        return _history(upstash)

    def defaults(session_id: str, suffix: str = "") -> UpstashRedisChatMessageHistory:
        return _history(upstash, session_id + suffix)

    fields = _fields("thread", "user")
    config: RunnableConfig = {"configurable": {"user": "ann", "thread": "1"}}
    with_history(_answer("so."), anything, history_factory_config=fields).invoke("why?", config)
    with_history(_answer("so."), defaults).invoke("why?", CONFIG)
    assert given == [{"user": "ann", "thread": "1"}]
    assert len(_said(upstash)) == 4


def test_the_class_itself_finds_histories(upstash_environment: LocalUpstash) -> None:
    with_history(_answer("so."), UpstashRedisChatMessageHistory).invoke("why?", CONFIG)
    assert len(_said(upstash_environment)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_without_a_session_nothing_is_asked(upstash: LocalUpstash, way: str) -> None:
    asked: list[Any] = []
    before = upstash.stats
    with pytest.raises(ValueError, match="lacks 'session_id'"):
        _say(with_history(RunnableLambda(asked.append), _histories(upstash)), "why?", way, {})
    assert (asked, upstash.stats) == ([], before)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"get_session_history": "s"}, "get_session_history must be callable, not a str"),
        (
            {"get_session_history": lambda a: a, "history_factory_config": _fields("a", "b")},
            "takes a, but each run calls it with",
        ),
        ({"get_session_history": lambda user, thread: user}, r"takes user, thread, but .*id='user'.*id='thread'"),
        ({"get_session_history": lambda *, user: user}, "takes user, but"),
        ({"get_session_history": lambda: 0, "history_factory_config": _fields("a", "b")}, "takes nothing, but"),
        ({"history_factory_config": ["user"]}, "must be a list of ConfigurableFieldSpec"),
        ({"on_write_failure": "ignore"}, "on_write_failure must be 'raise' or 'return', not 'ignore'"),
        ({"input_messages_key": ""}, "input_messages_key"),
        ({"output_messages_key": 7}, "output_messages_key"),
        ({"history_messages_key": ["history"]}, "history_messages_key"),
    ],
)
def test_arguments_that_cannot_be_right(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        with_history(**{"runnable": _answer("so."), "get_session_history": lambda _: None, **options})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("value", "keys", "match"),
    [
        (7, {}, "must be a str, a message, or a list or tuple of messages, not a int"),
        (None, {}, "not a NoneType"),
        ([HumanMessage("a"), 7], {}, "not a message"),
        ([{"text": "a"}], {}, "not a message"),
        (
            {"a": "1", "b": "2"},
            {},
            r"without the key 'input'; its keys are \['a', 'b'\]\. .*Set input_messages_key= to",
        ),
        (
            {"a": "1"},
            {"input_messages_key": "question"},
            "without the key 'question'.*input_messages_key='question' must be one of",
        ),
        ({"a": 1}, {"input_messages_key": "a"}, "not a int"),
        ({}, {"input_messages_key": "question", "history_messages_key": "history"}, "without the key 'question'"),
        ("a", {"input_messages_key": "question"}, "must be a dict, not a str"),
        ([HumanMessage("a")], {"history_messages_key": "history"}, "must be a dict, not a list"),
    ],
)
def test_an_input_that_cannot_be_right_is_told_before_anything_is_asked(
    upstash: LocalUpstash, value: Any, keys: dict[str, str], match: str, way: str
) -> None:
    asked: list[Any] = []
    before = upstash.stats
    with pytest.raises(ValueError, match=match):
        _say(with_history(RunnableLambda(asked.append), _histories(upstash), **keys), value, way)
    assert (asked, upstash.stats) == ([], before)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("output", "match"),
    [
        (7, "must be a str, a message, or a list or tuple of messages, not a int"),
        (["a"], "it holds a str"),
        ({"a": "1", "b": "2"}, "without the key 'output'"),
        ({"a": None}, "not a NoneType"),
    ],
)
def test_an_output_that_cannot_be_stored_is_told(upstash: LocalUpstash, output: Any, match: str, way: str) -> None:
    with pytest.raises(ValueError, match=match):
        _say(with_history(_answer(output), _histories(upstash)), "why?", way)
    assert _said(upstash) == []


# Nothing twice


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("keys", [{}, {"input_messages_key": "messages"}, IN_DICT])
def test_an_input_that_repeats_the_conversation_is_stored_without_it(
    upstash: LocalUpstash, way: str, keys: dict[str, str]
) -> None:
    given: list[Any] = []

    def answer(value: Any) -> str:
        given.append(value)
        return "so."

    _history(upstash).add_messages(BEFORE)
    transcript = [*BEFORE, HumanMessage("why?")]
    value = {keys["input_messages_key"]: transcript} if keys else transcript
    _say(with_history(RunnableLambda(answer), _histories(upstash), **keys), value, way)
    assert _said(upstash)[2:] == [("human", "why?"), ("ai", "so.")]
    if keys == IN_DICT:
        assert given == [{"question": [HumanMessage("why?")], "history": BEFORE}]
    else:
        assert given == [{"messages": transcript} if keys else transcript]


def test_a_question_that_repeats_the_only_message_is_a_question(upstash: LocalUpstash) -> None:
    _history(upstash).add_user_message("Hello?")
    with_history(_answer("Hi."), _histories(upstash)).invoke("Hello?", CONFIG)
    assert _said(upstash) == [("human", "Hello?"), ("human", "Hello?"), ("ai", "Hi.")]


@pytest.mark.parametrize("way", WAYS)
def test_an_output_that_repeats_what_was_given_is_stored_without_it(upstash: LocalUpstash, way: str) -> None:
    agent = RunnableLambda(lambda given: {"messages": [*given["messages"], *TOOL, AIMessage("so.")]})
    keys = {"input_messages_key": "messages", "output_messages_key": "messages"}
    chain = with_history(agent, _histories(upstash), **keys)
    for question in ("why?", "how?"):
        _say(chain, {"messages": question}, way)
    kinds = ["human", "ai", "tool", "ai"]
    assert [kind for kind, _ in _said(upstash)] == kinds * 2


@pytest.mark.parametrize("way", WAYS)
def test_any_history_will_do_and_is_read_and_written_once(way: str) -> None:
    calls: list[str] = []

    class InMemory:
        def __init__(self) -> None:
            self.kept: list[BaseMessage] = [*BEFORE]

        @property
        def messages(self) -> list[BaseMessage]:
            calls.append("read")
            return self.kept

        async def aget_messages(self) -> list[BaseMessage]:
            calls.append("aread")
            return self.kept

        def add_messages(self, messages: Any) -> None:
            calls.append("add")
            self.kept.extend(messages)

        async def aadd_messages(self, messages: Any) -> None:
            calls.append("aadd")
            self.kept.extend(messages)

    history = InMemory()
    _say(with_history(_answer("so."), lambda _: history), "why?", way)
    assert calls == (["aread", "aadd"] if way.startswith("a") else ["read", "add"])
    assert history.kept == [*BEFORE, HumanMessage("why?"), AIMessage("so.")]


def test_a_dict_may_hold_a_history_that_is_replaced(upstash: LocalUpstash) -> None:
    chain = with_history(PROMPT | _model(), _histories(upstash), history_messages_key="history")
    chain.invoke({"history": [HumanMessage("made up")], "question": "why?"}, CONFIG)
    assert _said(upstash) == [("human", "why?"), ("ai", "It is so.")]


# A failing write is noticed by those who stay


@pytest.mark.parametrize("add", ["add_messages", "aadd_messages"])
def test_a_failing_write_is_logged_and_told_before_it_is_raised(
    upstash: LocalUpstash, add: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Exception] = []
    upstash.faults.add("reply_lost")
    forged = "s\nERROR chatstash: all is lost"
    history = _history(upstash, forged, on_write_error=told.append, retries=1)
    with pytest.raises(OutcomeUnknown) as caught:
        _add(history, add, [HumanMessage("secret words")])
    assert told == [caught.value]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("chatstash", logging.ERROR)
    assert record.getMessage() == (
        r"Adding messages to 'message_store:s\nERROR chatstash: all is lost' failed: OutcomeUnknownAfterConnectionLoss."
        " It is unknown whether the write was applied. Call check_outcome(error) before you write"
        " the same again."
    )
    assert record.exc_info is None


def _add(history: UpstashRedisChatMessageHistory, name: str, messages: Any) -> None:
    done = getattr(history, name)(messages)
    if inspect.isawaitable(done):
        asyncio.run(_awaited(done))


async def _awaited(thing: Any) -> None:
    await thing


@pytest.mark.parametrize("add", ["add_messages", "aadd_messages"])
def test_nothing_of_messages_or_token_is_logged(
    upstash: LocalUpstash, add: str, caplog: pytest.LogCaptureFixture, run: Callable[..., Any]
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
            _add(_history(upstash, ttl=None), add, messages)
    assert len(caplog.records) == len(wrong)
    assert secret not in caplog.text
    assert upstash.token not in caplog.text
    assert all(any(outcome in record.getMessage() for outcome in outcomes) for record in caplog.records)


@pytest.mark.parametrize("add", ["add_messages", "aadd_messages"])
def test_an_error_of_the_hook_is_logged_and_does_not_hide_the_writes(
    upstash: LocalUpstash, add: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Exception) -> None:
        raise KeyError("the hook's own")

    upstash.faults.add("throttled")
    with pytest.raises(RateLimited):
        _add(_history(upstash, retries=0, on_write_error=fail), add, [HumanMessage("a")])
    assert ["on_write_error" in record.getMessage() for record in caplog.records] == [False, True]
    assert "the hook's own" in caplog.text
    assert "RateLimited" not in caplog.text.split("on_write_error")[1]


@pytest.mark.parametrize("add", ["add_messages", "aadd_messages"])
def test_a_write_that_succeeds_is_not_told(upstash: LocalUpstash, add: str, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Exception] = []
    _add(_history(upstash, on_write_error=told.append), add, [HumanMessage("a")])
    assert (told, caplog.records) == ([], [])


async def _coroutine(_: Exception) -> None: ...


@pytest.mark.parametrize("hook", ["log", 7, _coroutine])
def test_a_hook_that_would_never_run_is_refused(hook: Any) -> None:
    with pytest.raises(ValueError, match="on_write_error must be a plain function"):
        UpstashRedisChatMessageHistory("s", "https://x.upstash.io", "t", on_write_error=hook)
