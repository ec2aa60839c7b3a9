"""`with_history` as a runnable among others: batches, chains, configs, events and schemas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig, RunnableLambda

from chatstash import RateLimited, with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import (
    CONFIG,
    EARLIER,
    IN_DICT,
    PROMPT,
    QUESTION,
    answering,
    ask,
    histories,
    history,
    model,
    stored,
)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_each_item_of_a_batch_has_its_own_session(upstash: LocalUpstash, colour: str) -> None:
    chain = with_history(RunnableLambda(lambda said: f"{len(said)}: {said[-1].content}"), histories(upstash))
    configs: list[RunnableConfig] = [{"configurable": {"session_id": name}} for name in "abc"]
    history(upstash, "b").add_messages(EARLIER)
    run = chain.batch if colour == "sync" else lambda *given: asyncio.run(chain.abatch(*given))
    assert run(["one", "two", "three"], configs) == ["1: one", "3: two", "1: three"]
    assert stored(upstash, "a") == [("human", "one"), ("ai", "1: one")]
    assert stored(upstash, "b")[2:] == [("human", "two"), ("ai", "3: two")]
    assert stored(upstash, "c") == [("human", "three"), ("ai", "1: three")]


def test_the_items_of_a_batch_may_share_a_session(upstash: LocalUpstash) -> None:
    chain = with_history(answering("so."), histories(upstash))
    assert chain.batch(["one?", "two?", "three?"], CONFIG) == ["so."] * 3
    said = stored(upstash)
    assert {(said[at], said[at + 1]) for at in (0, 2, 4)} == {
        (("human", question), ("ai", "so.")) for question in ("one?", "two?", "three?")
    }


def test_a_batch_may_return_the_errors_of_writes(upstash: LocalUpstash) -> None:
    chain = with_history(answering("so."), histories(upstash, retries=0))
    configs: list[RunnableConfig] = [{"configurable": {"session_id": name}} for name in "ab"]
    upstash.faults.add("throttled", matching="LPUSH message_store:b*")
    first, second = chain.batch(["one?", "two?"], configs, return_exceptions=True)
    assert first == "so."
    assert isinstance(second, RateLimited)


@pytest.mark.parametrize("way", ["invoke", "astream"])
def test_it_is_a_step_of_a_chain(upstash: LocalUpstash, way: str) -> None:
    chain = (
        RunnableLambda(lambda text: {"question": text + "?", "history": "overwritten"})
        | with_history(PROMPT | model(), histories(upstash), **IN_DICT)
        | StrOutputParser()
    )
    assert "".join(ask(chain, "why", way)) == "It is so."
    assert stored(upstash) == [("human", "why?"), ("ai", "It is so.")]


def test_the_session_id_may_be_bound(upstash: LocalUpstash) -> None:
    chain = with_history(answering("so."), histories(upstash)).with_config(configurable={"session_id": "bound"})
    chain.invoke("why?")
    assert stored(upstash, "bound") == [("human", "why?"), ("ai", "so.")]


def test_the_session_id_may_come_from_a_run_around_it(upstash: LocalUpstash) -> None:
    inner = with_history(answering("so."), histories(upstash))

    def outer(text: str) -> Any:
        return inner.invoke(text)

    RunnableLambda(outer).invoke("why?", CONFIG)
    assert stored(upstash) == [("human", "why?"), ("ai", "so.")]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_the_runnable_gets_bound_arguments(upstash: LocalUpstash, way: str) -> None:
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

    chain = with_history(Model(responses=["so."]), histories(upstash)).bind(stop=["x"], seed=7)
    ask(chain, "why?", way)
    assert seen == [(["x"], {"seed": 7})]


def test_the_runnable_gets_the_whole_config(upstash: LocalUpstash) -> None:
    started: list[Any] = []

    class Watcher(BaseCallbackHandler):
        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            started.append((kwargs["name"], kwargs["tags"], kwargs["metadata"]["user"], inputs))

    config: RunnableConfig = {**CONFIG, "callbacks": [Watcher()], "tags": ["t"], "metadata": {"user": "Ann"}}
    with_history(answering("so."), histories(upstash)).invoke("why?", {**config, "run_name": "chat"})
    assert started == [("chat", ["t"], "Ann", [HumanMessage("why?")])]


def test_the_history_is_in_the_config_as_the_old_way_has_it(upstash: LocalUpstash) -> None:
    def answer(_: Any, config: RunnableConfig) -> str:
        return config["configurable"]["message_history"].session_id

    assert with_history(RunnableLambda(answer), histories(upstash)).invoke("who?", CONFIG) == "s"


def test_configurable_fields_of_the_runnable_are_configurable(upstash: LocalUpstash) -> None:
    model = FakeListChatModel(responses=["so."]).configurable_fields(responses=ConfigurableField(id="replies"))
    chain = with_history(model, histories(upstash))
    assert sorted(spec.id for spec in chain.config_specs) == ["idempotency_key", "replies", "session_id"]
    config: RunnableConfig = {"configurable": {"session_id": "s", "replies": ["thus."]}}
    assert chain.invoke("why?", config).content == "thus."


def test_events_and_the_log_of_a_run(upstash: LocalUpstash) -> None:
    chain = with_history(PROMPT | model(), histories(upstash), **IN_DICT)

    async def main() -> None:
        kinds = [event["event"] async for event in chain.astream_events(QUESTION, CONFIG, version="v2")]
        assert kinds[0] == "on_chain_start"
        assert kinds.count("on_chat_model_stream") >= 5
        assert kinds[-1] == "on_chain_end"
        patches = [patch async for patch in chain.astream_log(QUESTION, CONFIG)]
        assert any("final_output" in operation["path"] for patch in patches for operation in patch.ops)

    asyncio.run(main())
    assert stored(upstash) == [("human", "why?"), ("ai", "It is so."), ("human", "why?"), ("ai", "And so on.")]


def test_its_schemas(upstash: LocalUpstash) -> None:
    chain = with_history(PROMPT | model() | StrOutputParser(), histories(upstash), **IN_DICT)
    assert chain.get_input_jsonschema()["type"] == "object"
    assert chain.get_output_jsonschema()["type"] == "string"
    assert "session_id" in json.dumps(chain.get_config_jsonschema())
    assert "anyOf" in with_history(model(), histories(upstash)).get_input_jsonschema()
    assert len(chain.get_graph().nodes) == 3


def test_a_plain_function_is_a_runnable(upstash: LocalUpstash) -> None:
    chain: Runnable[Any, Any] = with_history(lambda said: f"{len(said)} said", histories(upstash))
    assert [chain.invoke("a", CONFIG), chain.invoke("b", CONFIG)] == ["1 said", "3 said"]
