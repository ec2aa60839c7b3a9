"""Inputs and outputs of unsupported forms are refused."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda

from chatstash import with_history
from chatstash.local import LocalUpstash
from tests.langchain.support import answering, ask, histories, stored


@pytest.mark.parametrize(
    ("value", "keys", "match"),
    [
        (7, {}, "must be a str, a message, or a list or tuple of messages, not int"),
        (None, {}, "not NoneType"),
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
        ({"a": 1}, {"input_messages_key": "a"}, "not int"),
        ({}, {"input_messages_key": "question", "history_messages_key": "history"}, "without the key 'question'"),
        ("a", {"input_messages_key": "question"}, "must be a dict, not str"),
        ([HumanMessage("a")], {"history_messages_key": "history"}, "must be a dict, not list"),
    ],
)
def test_an_unsupported_input_is_refused_before_anything_is_read(
    upstash: LocalUpstash, value: Any, keys: dict[str, str], match: str
) -> None:
    asked: list[Any] = []
    before = upstash.stats
    with pytest.raises(ValueError, match=match):
        ask(with_history(RunnableLambda(asked.append), histories(upstash), **keys), value)
    assert (asked, upstash.stats) == ([], before)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        (7, "must be a str, a message, or a list or tuple of messages, not int"),
        (["a"], "it holds a str"),
        ({"a": "1", "b": "2"}, "without the key 'output'"),
        ({"a": None}, "not NoneType"),
    ],
)
def test_an_unsupported_output_is_refused(upstash: LocalUpstash, output: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ask(with_history(answering(output), histories(upstash)), "why?")
    assert stored(upstash) == []
