"""`idempotency_key` in the config of a run: an event that is delivered again is answered with what was stored."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig, RunnableLambda, RunnablePassthrough

from chatstash import ReplyGone, Store, UpstashRedisChatMessageHistory, with_history
from chatstash.local import LocalUpstash

WAYS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "invoke": lambda chain, value, config: chain.invoke(value, config),
    "ainvoke": lambda chain, value, config: asyncio.run(chain.ainvoke(value, config)),
    "stream": lambda chain, value, config: _only(list(chain.stream(value, config))),
    "astream": lambda chain, value, config: asyncio.run(_first(chain.astream(value, config))),
}


def _only(parts: list[Any]) -> Any:
    (part,) = parts
    return part


async def _first(parts: Any) -> Any:
    return _only([part async for part in parts])


def _config(event: Any = "evt_1") -> RunnableConfig:
    return {"configurable": {"session_id": "s", "idempotency_key": event}}


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", upstash.url, upstash.token, **{"ttl": 60, **options})


def _answers() -> tuple[RunnableLambda[Any, str], list[Any]]:
    """Return a runnable that answers otherwise each time, and what it was asked."""
    asked: list[Any] = []

    def answer(given: Any) -> str:
        asked.append(given)
        return f"answer {len(asked)}"

    return RunnableLambda(answer), asked


def _message(text: str) -> AIMessage:
    return AIMessage(text)


def _said(upstash: LocalUpstash) -> list[Any]:
    return [message.content for message in _history(upstash).messages]


@pytest.mark.parametrize("way", WAYS)
def test_an_event_delivered_again_gets_the_stored_reply_and_the_model_is_not_asked(
    upstash: LocalUpstash, way: str
) -> None:
    runnable, asked = _answers()
    chain = with_history(runnable.with_types(output_type=str), lambda _: _history(upstash))
    _history(upstash).add_messages([HumanMessage("earlier?"), AIMessage("earlier.")])
    for _ in range(3):
        assert WAYS[way](chain, "why?", _config()) == "answer 1"
    assert len(asked) == 1
    assert WAYS[way](chain, "why?", _config("evt_2")) == "answer 2"
    assert _said(upstash) == ["earlier?", "earlier.", "why?", "answer 1", "why?", "answer 2"]


def test_what_it_costs(upstash: LocalUpstash) -> None:
    chain = with_history(_answers()[0], lambda _: _history(upstash))
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
def test_the_reply_has_the_form_that_the_runnable_declares(
    upstash: LocalUpstash, runnable: Any, keys: dict[str, str], reply: Any
) -> None:
    _history(upstash).add_messages([HumanMessage("why?"), AIMessage("so.")], idempotency_key="evt_1")
    chain = with_history(runnable, lambda _: _history(upstash), **keys)
    assert chain.invoke({"q": "why?"} if "input_messages_key" in keys else "why?", _config()) == reply


@pytest.mark.parametrize("blocking", [True, False])
def test_of_two_deliveries_at_the_same_time_one_is_stored(upstash: LocalUpstash, blocking: bool) -> None:
    numbers = itertools.count(1)
    if blocking:
        both = threading.Barrier(2)

        def answer(_: Any) -> str:
            both.wait(30)
            return f"answer {next(numbers)}"

        chain = with_history(RunnableLambda(answer).with_types(output_type=str), lambda _: _history(upstash))
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

            chain = with_history(RunnableLambda(answer).with_types(output_type=str), lambda _: _history(upstash))
            return list(await asyncio.gather(*(chain.ainvoke("why?", _config()) for _ in range(2))))

        replies = asyncio.run(main())
    assert len(set(replies)) == 1
    assert _said(upstash) == ["why?", replies[0]]


def test_a_crash_between_append_and_acknowledgement_is_followed_by_no_conflict(upstash: LocalUpstash) -> None:
    _history(upstash).add_messages([HumanMessage("why?", id="h1"), AIMessage("first")], idempotency_key="evt_1")
    runnable, asked = _answers()
    reply = with_history(runnable, lambda _: _history(upstash)).invoke(HumanMessage("why?", id="h2"), _config())
    assert (reply, asked) == ("first", [])


def test_where_the_stored_messages_are_gone_that_is_said(upstash: LocalUpstash) -> None:
    runnable, asked = _answers()
    chain = with_history(runnable, lambda _: _history(upstash))
    chain.invoke("why?", _config())
    _history(upstash).clear()
    with pytest.raises(ReplyGone, match="evt_1"):
        chain.invoke("why?", _config())
    assert len(asked) == 1


def test_a_history_of_another_kind_is_refused_before_anything_is_read() -> None:
    class Other:
        def __getattr__(self, name: str) -> Any:
            if name == "add_messages":
                return None
            raise AssertionError("read")

    with pytest.raises(ValueError, match=r"idempotency_key needs an UpstashRedisChatMessageHistory.* a Other"):
        with_history(_answers()[0], lambda _: Other()).invoke("why?", _config())  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("event", ["", 7])
def test_a_key_that_is_no_text_is_refused_before_anything_is_asked(upstash: LocalUpstash, event: Any) -> None:
    before = upstash.stats
    with pytest.raises(ValueError, match="idempotency_key must be a non-empty string"):
        with_history(_answers()[0], lambda _: _history(upstash)).invoke("why?", _config(event))
    assert upstash.stats == before


def test_runs_within_do_not_take_the_key_for_theirs(upstash: LocalUpstash) -> None:
    inner = with_history(_answers()[0], lambda _: _history(upstash))

    def twice(given: list[BaseMessage], config: RunnableConfig) -> str:
        return " ".join(inner.invoke(text, config) for text in ("a?", "b?"))

    assert with_history(RunnableLambda(twice), lambda _: _history(upstash)).invoke("why?", _config()) == (
        "answer 1 answer 2"
    )


def test_a_field_of_that_name_is_the_users(upstash: LocalUpstash) -> None:
    fields = [ConfigurableFieldSpec(id="idempotency_key", annotation=str)]
    chain = with_history(_answers()[0], lambda _: _history(upstash), history_factory_config=fields)
    assert [chain.invoke("why?", _config()) for _ in range(2)] == ["answer 1", "answer 2"]
    assert [spec.id for spec in chain.config_specs] == ["idempotency_key"]


# What was stored for a key


def test_stored_for_gives_the_batch_whatever_is_stored_around_it(upstash: LocalUpstash) -> None:
    history = _history(upstash)
    assert history.stored_for("evt_1") is None
    history.add_messages([HumanMessage("before")])
    history.add_messages([HumanMessage("why?"), AIMessage("so.")], idempotency_key="evt_1")
    batch = next(record.id.batch for record in history.records() if record.data["content"] == "so." and record.id)
    forged = {"rid": f"{batch}.0/2"}
    history.add_messages([HumanMessage(f"after {n}", additional_kwargs=forged) for n in range(250)])
    assert [message.content for message in history.stored_for("evt_1") or []] == ["why?", "so."]
    assert [message.content for message in asyncio.run(history.astored_for("evt_1")) or []] == ["why?", "so."]
    with pytest.raises(ValueError, match="idempotency_key must be"):
        history.stored_for("")


def test_stored_for_knows_a_record_whose_generation_was_bumped(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    history = _history(upstash)
    history.add_messages([HumanMessage("why?"), AIMessage("so.")], idempotency_key="evt_1")
    for place in (0, 1):
        stored = run("LINDEX", "message_store:s", place)
        text = stored.decode() if isinstance(stored, bytes) else stored
        run("LSET", "message_store:s", place, text[:-1] + ',"g":7}')
    assert [message.content for message in history.stored_for("evt_1") or []] == ["why?", "so."]


def test_stored_for_finds_an_append_of_any_size(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token, max_request_bytes=100_000) as store:
        history = UpstashRedisChatMessageHistory("s", store=store)
        texts = [str(number) * 20_000 for number in range(10)]
        history.add_messages([HumanMessage(text) for text in texts], idempotency_key="evt_1")
        assert [message.content for message in history.stored_for("evt_1") or []] == texts
