"""What is raised and what is stored if a read, a write, a tool or the reader of a stream fails; and bad arguments."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from langchain.agents import create_agent
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

import chatstash
from chatstash import DatabaseError, ReadOnlyToken, UnstorableMessage, UpstashRedisChatMessageHistory
from chatstash.langchain import ChatHistoryMiddleware
from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import COLOURS, SESSION, THREAD, TURN, WAYS, Watched, agent, memory
from tests.langchain.support import history, stored

READER = "a-read-only-token"


@pytest.fixture(scope="module")
def readable() -> Iterator[LocalUpstash]:
    """A server with a token that may only read."""
    with LocalUpstash(read_only_token=READER) as upstash:
        yield upstash


@pytest.fixture
def limited(readable: LocalUpstash) -> LocalUpstash:
    readable.flush()
    return readable


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Any:
    return COLOURS[request.param]


def _agent(upstash: LocalUpstash, model: Any, **options: Any) -> Any:
    saver = options.pop("checkpointer", None)
    return create_agent(model, middleware=[memory(upstash, **options)], checkpointer=saver)


@tool("weather")
def failing(city: str) -> str:
    """Fail."""
    raise RuntimeError("no weather")


class Unstorable(Watched):
    """Answers with what JSON cannot hold."""

    def _reply(self, messages: Any) -> AIMessage:
        self.sent.append(messages)
        return AIMessage("So.", additional_kwargs={"value": object()} if len(self.sent) == 1 else {})


@pytest.mark.parametrize("way", WAYS)
def test_a_read_only_token_reads_and_its_error_has_the_reply(limited: LocalUpstash, way: str) -> None:
    history(limited).add_user_message("Before.")
    model = Watched()
    with pytest.raises(ReadOnlyToken) as caught:
        WAYS[way](_agent(limited, model, token=READER), {"messages": "ok"})
    reply: Any = caught.value.reply  # type: ignore[attr-defined]
    assert [message.content for message in reply["messages"]] == ["ok", "It is so."]
    assert model.last == [("human", "Before."), ("human", "ok")]
    assert [text for _, text in stored(limited)] == ["Before."]


def test_a_reply_that_cannot_be_stored_is_in_the_error(upstash: LocalUpstash, colour: Any) -> None:
    with pytest.raises(UnstorableMessage) as caught:
        colour(agent(upstash, model=Unstorable()), {"messages": "ok"})
    reply: Any = caught.value.reply  # type: ignore[attr-defined]
    assert [message.content for message in reply["messages"]] == ["ok", "So."]
    assert stored(upstash) == []


def test_the_reply_may_be_returned_and_the_error_logged(
    upstash: LocalUpstash, colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Exception] = []
    asked = _agent(upstash, Unstorable(), on_write_failure="return", on_write_error=seen.append)
    assert colour(asked, {"messages": "ok"})["messages"][-1].content == "So."
    assert [type(error) for error in seen] == [UnstorableMessage]
    assert "could not be stored; its reply is returned" in caplog.text


def test_a_turn_that_could_not_be_stored_is_stored_with_the_next_of_its_thread(
    limited: LocalUpstash, colour: Any
) -> None:
    model, saver = Watched(), InMemorySaver()
    unstored = _agent(limited, model, token=READER, on_write_failure="return", checkpointer=saver)
    colour(unstored, {"messages": "ok 1"}, THREAD)
    assert stored(limited) == []
    colour(_agent(limited, model, checkpointer=saver), {"messages": "ok 2"}, THREAD)
    assert [text for _, text in stored(limited)] == ["ok 1", "It is so.", "ok 2", "It is so."]


def test_after_a_failed_write_the_run_can_be_resumed(limited: LocalUpstash, colour: Any) -> None:
    """Only the step that stores is run again."""
    model, saver = Watched(), InMemorySaver()
    with pytest.raises(ReadOnlyToken):
        colour(_agent(limited, model, token=READER, checkpointer=saver), {"messages": "ok"}, THREAD)
    colour(_agent(limited, model, checkpointer=saver), None, THREAD)
    assert stored(limited) == [("human", "ok"), ("ai", "It is so.")]
    assert len(model.sent) == 1


def test_a_failed_read_ends_the_run_before_the_model_is_called(upstash: LocalUpstash, colour: Any) -> None:
    upstash.faults.add("server_error")
    model = Watched()
    with pytest.raises(DatabaseError):
        colour(_agent(upstash, model, timeout=1, retries=0), {"messages": "ok"})
    assert model.sent == []


def test_a_tool_that_raises_stores_nothing(upstash: LocalUpstash, colour: Any) -> None:
    with pytest.raises(RuntimeError, match="no weather"):
        colour(agent(upstash, tools=[failing]), {"messages": "weather?"})
    assert stored(upstash) == []
    colour(agent(upstash), {"messages": "weather?"})
    assert [kind for kind, _ in stored(upstash)] == TURN


@pytest.mark.parametrize("parts", [1, 3])
def test_a_stream_that_is_closed_early_stores_nothing(upstash: LocalUpstash, parts: int) -> None:
    stream = agent(upstash).stream({"messages": "weather?"}, SESSION, stream_mode="messages")
    for _ in range(parts):
        next(stream)
    stream.close()

    async def closed() -> None:
        async with aclosing(agent(upstash).astream({"messages": "weather?"}, SESSION, stream_mode="messages")) as more:
            for _ in range(parts):
                await anext(more)

    asyncio.run(closed())
    assert stored(upstash) == []
    agent(upstash).invoke({"messages": "ok"}, SESSION)
    assert [text for _, text in stored(upstash)] == ["ok", "It is so."]


def test_a_closed_stream_of_a_thread_is_resumed_and_stored_once(upstash: LocalUpstash) -> None:
    asked = agent(upstash, checkpointer=InMemorySaver())
    stream = asked.stream({"messages": "weather?"}, THREAD, stream_mode="updates", durability="sync")
    next(stream)
    next(stream)
    stream.close()
    assert stored(upstash) == []
    asked.invoke(None, THREAD)
    assert [kind for kind, _ in stored(upstash)] == TURN


class Context(NamedTuple):
    user: str


@pytest.mark.parametrize("context", [{"user": "ann"}, Context("ann")])
def test_the_session_id_may_be_in_the_context(upstash: LocalUpstash, context: Any) -> None:
    asked = _agent(upstash, Watched(), session_id_key="user")
    asked.invoke({"messages": "ok"}, context=context)
    asyncio.run(asked.ainvoke({"messages": "ok"}, context=context))
    assert len(stored(upstash, "ann")) == 4


def test_the_thread_id_may_be_the_session_id(upstash: LocalUpstash, colour: Any) -> None:
    asked = _agent(upstash, Watched(), session_id_key="thread_id", checkpointer=InMemorySaver())
    colour(asked, {"messages": "ok"}, {"configurable": {"thread_id": "thread"}})
    assert len(stored(upstash, "thread")) == 2


@pytest.mark.parametrize("config", [{}, {"configurable": {"session_id": None}}, {"configurable": {"other": "s"}}])
def test_a_run_without_a_session_id_is_a_value_error(upstash: LocalUpstash, colour: Any, config: Any) -> None:
    before = upstash.stats.requests
    with pytest.raises(ValueError, match=r"no 'session_id'.*Nothing was read or stored.*configurable"):
        colour(agent(upstash), {"messages": "ok"}, config)
    assert upstash.stats.requests == before


@pytest.mark.parametrize("session_id", ["", 7, "\ud800"])
def test_an_invalid_session_id_is_a_value_error(upstash: LocalUpstash, colour: Any, session_id: Any) -> None:
    before = upstash.stats.requests
    with pytest.raises(ValueError):
        colour(agent(upstash), {"messages": "ok"}, {"configurable": {"session_id": session_id}})
    assert upstash.stats.requests == before


def test_a_function_may_make_the_history(upstash: LocalUpstash, colour: Any) -> None:
    made = ChatHistoryMiddleware(lambda session_id: history(upstash, f"of-{session_id}"))
    colour(create_agent(Watched(), middleware=[made]), {"messages": "ok"})
    assert len(stored(upstash, "of-s")) == 2

    async def find(session_id: str) -> UpstashRedisChatMessageHistory:
        return history(upstash, f"found-{session_id}")

    asking = create_agent(Watched(), middleware=[ChatHistoryMiddleware(find)])
    asyncio.run(asking.ainvoke({"messages": "ok"}, SESSION))
    assert len(stored(upstash, "found-s")) == 2
    with pytest.raises(ValueError, match="async def"):
        asking.invoke({"messages": "ok"}, SESSION)
    other = create_agent(Watched(), middleware=[ChatHistoryMiddleware(lambda _: InMemoryChatMessageHistory())])
    with pytest.raises(ValueError, match="InMemoryChatMessageHistory"):
        colour(other, {"messages": "ok"})


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"on_write_failure": "log"}, ValueError, "on_write_failure"),
        ({"session_id_key": ""}, ValueError, "session_id_key"),
        ({"ttl": 0}, ValueError, "ttl"),
        ({"read_lats": 5}, TypeError, "read_last"),
        ({"get_session_history": 5}, ValueError, "callable"),
        ({"get_session_history": lambda s: s, "ttl": 5}, ValueError, "either get_session_history or ttl"),
        ({"get_session_history": lambda s: s, "key_prefix": "p:"}, ValueError, "key_prefix"),
    ],
)
def test_invalid_arguments(upstash: LocalUpstash, options: Any, error: Any, says: str) -> None:
    where = {} if "get_session_history" in options else {"url": upstash.url, "token": upstash.token}
    with pytest.raises(error, match=says):
        ChatHistoryMiddleware(**where, **options)


def test_the_token_shows_nowhere(upstash: LocalUpstash) -> None:
    made = memory(upstash)
    assert upstash.token not in repr(made) + repr(vars(made))


def test_options_of_the_window_apply(upstash: LocalUpstash, colour: Any) -> None:
    history(upstash).add_messages([HumanMessage(f"m{n}") for n in range(9)])
    model = Watched()
    colour(_agent(upstash, model, read_last=3), {"messages": "ok"})
    assert [text for _, text in model.last] == ["m6", "m7", "m8", "ok"]


def test_it_is_loaded_when_used() -> None:
    assert chatstash.ChatHistoryMiddleware is ChatHistoryMiddleware
    code = """
import sys
sys.modules["langchain.agents"] = sys.modules["langchain.agents.middleware"] = None
import chatstash.langchain
from chatstash import *
from chatstash.langchain import *
try:
    from chatstash.langchain import ChatHistoryMiddleware
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'langchain>=1.2.18'" in done.stdout
    code = "import sys, chatstash; chatstash.with_history; print('langchain.agents' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
