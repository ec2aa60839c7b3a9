"""The history of a run, selected by its config."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig, RunnableLambda

from chatstash import UpstashRedisChatMessageHistory, with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import CONFIG, answering, ask, histories, history, stored


def _fields(*names: str) -> list[ConfigurableFieldSpec]:
    return [ConfigurableFieldSpec(id=name, annotation=str) for name in names]


def test_fields_select_the_history(upstash: LocalUpstash) -> None:
    def find(user: str, thread: str) -> UpstashRedisChatMessageHistory:
        return history(upstash, f"{user}/{thread}")

    chain = with_history(answering("so."), find, history_factory_config=_fields("thread", "user"))
    assert [spec.id for spec in chain.config_specs] == ["idempotency_key", "thread", "user"]
    chain.invoke("why?", {"configurable": {"user": "ann", "thread": "1"}})
    assert stored(upstash, "ann/1") == [("human", "why?"), ("ai", "so.")]
    with pytest.raises(ValueError, match=r"lacks 'user'.*chain\.invoke"):
        chain.invoke("why?", {"configurable": {"thread": "1"}})


def test_a_single_field_is_passed_by_position(upstash: LocalUpstash) -> None:
    chain = with_history(answering("so."), histories(upstash), history_factory_config=_fields("user"))
    chain.invoke("why?", {"configurable": {"user": "ann"}})
    assert len(stored(upstash, "ann")) == 2


def test_a_factory_may_take_nothing(upstash: LocalUpstash) -> None:
    with_history(answering("so."), lambda: history(upstash)).invoke("why?")
    assert len(stored(upstash)) == 2


def test_a_factory_may_take_any_keywords_or_have_defaults(upstash: LocalUpstash) -> None:
    given: list[Any] = []

    def anything(**fields: str) -> UpstashRedisChatMessageHistory:
        given.append(fields)
        return history(upstash)

    def defaults(session_id: str, suffix: str = "") -> UpstashRedisChatMessageHistory:
        return history(upstash, session_id + suffix)

    fields = _fields("thread", "user")
    config: RunnableConfig = {"configurable": {"user": "ann", "thread": "1"}}
    with_history(answering("so."), anything, history_factory_config=fields).invoke("why?", config)
    with_history(answering("so."), defaults).invoke("why?", CONFIG)
    assert given == [{"user": "ann", "thread": "1"}]
    assert len(stored(upstash)) == 4


def test_the_class_is_a_factory(upstash_environment: LocalUpstash) -> None:
    with_history(answering("so."), UpstashRedisChatMessageHistory).invoke("why?", CONFIG)
    assert len(stored(upstash_environment)) == 2


def test_without_a_session_id_nothing_is_read(upstash: LocalUpstash) -> None:
    asked: list[Any] = []
    before = upstash.stats
    with pytest.raises(ValueError, match="lacks 'session_id'"):
        ask(with_history(RunnableLambda(asked.append), histories(upstash)), "why?", config={})
    assert (asked, upstash.stats) == ([], before)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"get_session_history": "s"}, "get_session_history must be callable, not str"),
        (
            {"get_session_history": lambda a: a, "history_factory_config": _fields("a", "b")},
            r"get_session_history\(a\) cannot be called with a, b by keyword",
        ),
        (
            {"get_session_history": lambda user, thread: user},
            r"get_session_history\(user, thread\) cannot be called with session_id\.",
        ),
        ({"get_session_history": lambda *, user: user}, r"\(\*, user\) cannot be called with session_id"),
        (
            {"get_session_history": lambda: 0, "history_factory_config": _fields("a", "b")},
            r"\(\) cannot be called with a, b",
        ),
        ({"history_factory_config": ["user"]}, "must be a list of ConfigurableFieldSpec"),
        ({"on_write_failure": "ignore"}, "on_write_failure must be 'raise' or 'return', not 'ignore'"),
        ({"input_messages_key": ""}, "input_messages_key"),
        ({"output_messages_key": 7}, "output_messages_key"),
        ({"history_messages_key": ["history"]}, "history_messages_key"),
    ],
)
def test_invalid_arguments(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        with_history(**{"runnable": answering("so."), "get_session_history": lambda _: None, **options})


def test_an_async_factory_is_awaited_and_a_blocking_run_refuses_it(upstash: LocalUpstash) -> None:
    async def find(session_id: str) -> UpstashRedisChatMessageHistory:
        await asyncio.sleep(0)
        return history(upstash, session_id)

    chain = with_history(answering("so."), find)
    before = upstash.stats
    with pytest.raises(ValueError, match=r"get_session_history is async def.*Nothing was read"):
        ask(chain, "why?")
    assert upstash.stats == before
    ask(chain, "why?", "ainvoke")
    assert stored(upstash) == [("human", "why?"), ("ai", "so.")]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_factory_must_return_a_history(way: str) -> None:
    with pytest.raises(ValueError, match="must return a chat message history, not NoneType"):
        ask(with_history(answering("so."), lambda _: None), "why?", way)  # type: ignore[arg-type, return-value]
