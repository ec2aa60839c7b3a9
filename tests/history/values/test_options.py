"""Options: each is one field, its keyword argument and one line of documentation, shown wherever it can be given."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from functools import partial
from traceback import TracebackException
from typing import Any

import pytest

from chatstash import (
    ConversationOptions,
    MessageReadOptions,
    Options,
    ReadOptions,
    Store,
    UpstashRedisChatMessageHistory,
)

BUDGET = {"timeout", "retries"}
"""Keyword arguments that change the field `retry_policy`."""


def _documented(thing: type) -> set[str]:
    attributes = (inspect.getdoc(thing) or "").partition("Attributes:")[2].partition("Raises:")[0]
    return set(re.findall(r"^    (\w+): ", attributes, re.MULTILINE))


def test_an_option_is_a_field_a_keyword_and_a_line_of_documentation() -> None:
    fields = {field.name for field in dataclasses.fields(Options)}
    assert set(ConversationOptions.__annotations__) == fields | BUDGET
    assert _documented(Options) == fields
    assert _documented(ReadOptions) == set(ReadOptions.__annotations__)
    assert _documented(MessageReadOptions) == set(MessageReadOptions.__annotations__) - set(ReadOptions.__annotations__)


@pytest.mark.parametrize(
    ("function", "keywords"),
    [
        (Store, ConversationOptions),
        (Store.session, ConversationOptions),
        (UpstashRedisChatMessageHistory, ConversationOptions),
        (UpstashRedisChatMessageHistory.read, MessageReadOptions),
    ],
)
def test_help_lists_every_keyword(function: Callable[..., Any], keywords: type) -> None:
    assert set(keywords.__annotations__) <= set(inspect.signature(function).parameters)


@pytest.mark.parametrize("read", [lambda it: it.read(lst=3), lambda it: it.read(max_token=3)])
def test_a_keyword_that_does_not_exist_is_named_with_those_that_do(read: Callable[[Any], Any]) -> None:
    history = UpstashRedisChatMessageHistory("s", "https://x.upstash.io", "t")
    with pytest.raises(TypeError, match=r"'(lst|max_token)'\. Did you mean '(last|max_tokens)'\? Its options are"):
        read(history)


@pytest.mark.parametrize(
    "make", [Store, partial(UpstashRedisChatMessageHistory, "s"), partial(Store("https://h", "t").session, "s")]
)
def test_a_misspelt_option_is_named_with_all_that_exist(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"no option 'tlt'\. Did you mean 'ttl'\?"):
        make(tlt=7)


MISSPELT: list[Callable[..., Any]] = [
    Store,
    partial(UpstashRedisChatMessageHistory, "s"),
    Store("https://h", "t").session,
    partial(UpstashRedisChatMessageHistory("s", "https://h", "t").read, start_on="human"),
    partial(Store("https://h", "t").session("s").read, start_on="human"),
]


@pytest.mark.parametrize("call", MISSPELT)
def test_a_token_in_a_misspelt_option_is_in_no_frame(call: Callable[..., Any]) -> None:
    try:
        call("https://h", tokn="a-secret") if call in MISSPELT[:3] else call(tokn="a-secret")
    except TypeError as error:
        shown = TracebackException.from_exception(error, capture_locals=True)
    del shown.stack[0]
    assert "tokn" in str(shown)
    assert "a-secret" not in "".join(shown.format())
