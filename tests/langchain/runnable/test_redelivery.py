"""`idempotency_key` in the config of a run: a redelivered event gets the stored reply."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig, RunnableLambda, RunnablePassthrough

from chatstash import ReplyGone, with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import WAYS, ask, histories, history, stored


def _config(event: Any = "evt_1") -> RunnableConfig:
    return {"configurable": {"session_id": "s", "idempotency_key": event}}


def _answers() -> tuple[RunnableLambda[Any, str], list[Any]]:
    """Return a runnable whose answers are numbered, and the inputs it got."""
    asked: list[Any] = []

    def answer(given: Any) -> str:
        asked.append(given)
        return f"answer {len(asked)}"

    return RunnableLambda(answer), asked


def _message(text: str) -> AIMessage:
    return AIMessage(text)


def _texts(upstash: LocalUpstash) -> list[Any]:
    return [text for _, text in stored(upstash)]


@pytest.mark.parametrize("way", WAYS)
def test_a_redelivered_event_gets_the_stored_reply_without_calling_the_model(upstash: LocalUpstash, way: str) -> None:
    runnable, asked = _answers()
    chain = with_history(runnable.with_types(output_type=str), histories(upstash))
    history(upstash).add_messages([HumanMessage("earlier?"), AIMessage("earlier.")])
    for _ in range(3):
        assert ask(chain, "why?", way, _config()) == ["answer 1"]
    assert len(asked) == 1
    assert ask(chain, "why?", way, _config("evt_2")) == ["answer 2"]
    assert _texts(upstash) == ["earlier?", "earlier.", "why?", "answer 1", "why?", "answer 2"]


def test_the_cost_of_an_event_and_its_redelivery(upstash: LocalUpstash) -> None:
    chain = with_history(_answers()[0], histories(upstash))
    spent = []
    for _ in range(2):
        before = upstash.stats
        chain.invoke("why?", _config())
        done = upstash.stats - before
        spent.append((done.requests, done.billed_commands))
    assert spent == [(3, 7), (1, 4)]


@pytest.mark.parametrize(
    ("runnable", "keys", "reply"),
    [
        (RunnableLambda(lambda _: "so.").with_types(output_type=str), {}, "so."),
        (RunnableLambda(_message) | StrOutputParser(), {}, "so."),
        (RunnableLambda(_message).with_types(output_type=AIMessage), {}, AIMessage("so.")),
        (RunnableLambda(lambda _: [AIMessage("so.")]).with_types(output_type=list), {}, [AIMessage("so.")]),
        (RunnableLambda(lambda _: "so."), {}, AIMessage("so.")),
        (RunnableLambda(lambda _: {"a": "so."}), {"output_messages_key": "a"}, {"a": [AIMessage("so.")]}),
        (
            RunnablePassthrough.assign(a=RunnableLambda(lambda _: "so.").with_types(output_type=str)),
            {"input_messages_key": "q", "output_messages_key": "a"},
            {"a": "so."},
        ),
    ],
)
def test_the_reply_has_the_form_of_the_output_schema(
    upstash: LocalUpstash, runnable: Any, keys: dict[str, str], reply: Any
) -> None:
    history(upstash).add_messages([HumanMessage("why?"), AIMessage("so.")], idempotency_key="evt_1")
    chain = with_history(runnable, histories(upstash), **keys)
    assert chain.invoke({"q": "why?"} if "input_messages_key" in keys else "why?", _config()) == reply


@pytest.mark.parametrize("blocking", [True, False])
def test_of_two_concurrent_deliveries_one_is_stored(
    upstash: LocalUpstash, blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = itertools.count(1)
    if blocking:
        both = threading.Barrier(2)

        def answer(_: Any) -> str:
            both.wait(300)
            return f"answer {next(numbers)}"

        chain = with_history(RunnableLambda(answer).with_types(output_type=str), histories(upstash))
        replies: list[Any] = []
        threads = [threading.Thread(target=lambda: replies.append(chain.invoke("why?", _config()))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:

        async def main() -> list[Any]:
            waiting = asyncio.Barrier(2)

            async def answer(_: Any) -> str:
                await waiting.wait()
                return f"answer {next(numbers)}"

            chain = with_history(RunnableLambda(answer).with_types(output_type=str), histories(upstash))
            return list(await asyncio.gather(*(chain.ainvoke("why?", _config()) for _ in range(2))))

        replies = asyncio.run(main())
    assert len(set(replies)) == 1
    assert _texts(upstash) == ["why?", replies[0]]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_crash_between_append_and_acknowledgement_causes_no_conflict(upstash: LocalUpstash) -> None:
    history(upstash).add_messages([HumanMessage("why?", id="h1"), AIMessage("first")], idempotency_key="evt_1")
    runnable, asked = _answers()
    reply = with_history(runnable, histories(upstash)).invoke(HumanMessage("why?", id="h2"), _config())
    assert (reply, asked) == ("first", [])


def test_an_event_whose_messages_were_removed_is_not_answered(upstash: LocalUpstash) -> None:
    runnable, asked = _answers()
    chain = with_history(runnable, histories(upstash))
    chain.invoke("why?", _config())
    history(upstash).clear()
    with pytest.raises(ReplyGone, match="evt_1"):
        chain.invoke("why?", _config())
    assert len(asked) == 1


def test_another_history_is_refused_before_anything_is_read() -> None:
    class Other:
        def __getattr__(self, name: str) -> Any:
            if name == "add_messages":
                return None
            raise AssertionError("read")

    with pytest.raises(ValueError, match=r"idempotency_key needs an UpstashRedisChatMessageHistory.* a Other"):
        with_history(_answers()[0], lambda _: Other()).invoke("why?", _config())  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("event", ["", 7])
def test_an_invalid_key_is_refused_before_anything_is_read(upstash: LocalUpstash, event: Any) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match="idempotency_key must be a non-empty string"):
        with_history(_answers()[0], histories(upstash)).invoke("why?", _config(event))
    assert upstash.stats == before


def test_runs_within_a_run_do_not_use_its_key(upstash: LocalUpstash) -> None:
    inner = with_history(_answers()[0], histories(upstash))

    def twice(given: list[BaseMessage], config: RunnableConfig) -> str:
        return " ".join(inner.invoke(text, config) for text in ("a?", "b?"))

    assert with_history(RunnableLambda(twice), histories(upstash)).invoke("why?", _config()) == ("answer 1 answer 2")


def test_a_field_of_that_name_takes_precedence(upstash: LocalUpstash) -> None:
    fields = [ConfigurableFieldSpec(id="idempotency_key", annotation=str)]
    chain = with_history(_answers()[0], histories(upstash), history_factory_config=fields)
    assert [chain.invoke("why?", _config()) for _ in range(2)] == ["answer 1", "answer 2"]
    assert [spec.id for spec in chain.config_specs] == ["idempotency_key"]
