"""Messages made together equal those of LangChain's `messages_from_dict`, each in its place."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, messages_from_dict

from chatstash.langchain.messages import _CLASSES, MESSAGES, to_records
from tests.langchain.test_construction import DATA, check_state
from tests.strategies import EVERY_KIND, JSON_VALUES, equal

_RECORDS = st.fixed_dictionaries({"type": st.sampled_from(sorted(_CLASSES)), "data": DATA})
_ODD: list[Any] = [[], {}, 7, "type", None, {"type": [], "data": {}}, {"type": {}, "data": {"content": "x"}},
                   {"type": "human", "data": ["content"]}, {"type": "human", "data": "content"}, {"data": {}},
                   {"type": "human", "data": {"content": "x"}, "v": 2},
                   {"type": 1, "data": {"content": "x"}}]  # fmt: skip
_PLAIN = [{"type": kind, "data": {"content": f"{kind} {number}"}} for number in range(8) for kind in ("human", "ai")]


def _parsed(records: list[Any]) -> list[Any]:
    """Return records as they are read, without those that JSON cannot hold."""
    found = []
    for record in records:
        try:
            found.append(orjson.loads(orjson.dumps(record)))
        except TypeError:
            continue
    return found


def _check(records: list[Any]) -> int:
    """Check the message of each record, and return how many were made."""
    made = MESSAGES.from_json(copy.deepcopy(records))
    assert len(made) == len(records)
    for record, message in zip(records, made, strict=True):
        if message is not None:
            (wanted,) = messages_from_dict([copy.deepcopy(record)])
            check_state(message, wanted)
    return sum(message is not None for message in made)


@given(st.lists(_RECORDS, min_size=1, max_size=6), st.integers(1, 20))
def test_messages_made_together_equal_langchains(records: list[Any], times: int) -> None:
    _check(_parsed(records) * times)


@given(st.lists(st.sampled_from(_PLAIN) | st.sampled_from(_ODD) | JSON_VALUES, max_size=40))
@example([*_PLAIN, *_ODD])
def test_no_record_is_lost_or_moved(records: list[Any]) -> None:
    parsed = _parsed(records)
    made = MESSAGES.from_json(copy.deepcopy(parsed))
    assert len(made) == len(parsed)
    for record, message in zip(parsed, made, strict=True):
        if any(record is plain or equal(record, plain) for plain in _PLAIN):
            assert message is not None
            assert message.content == record["data"]["content"]


@pytest.mark.parametrize("odd", _ODD, ids=str)
def test_an_odd_record_among_others_leaves_them_as_they_are(odd: Any) -> None:
    made = MESSAGES.from_json([*copy.deepcopy(_PLAIN), odd, *copy.deepcopy(_PLAIN)])
    assert [message and message.content for message in made] == [
        *(record["data"]["content"] for record in _PLAIN), None, *(record["data"]["content"] for record in _PLAIN)
    ]  # fmt: skip


def test_every_kind_is_made_in_its_place() -> None:
    records = [{"type": made.type, "data": data} for made in EVERY_KIND
               for data in (made.model_dump(), dict(to_records([made])[0].data))] * 20  # fmt: skip
    assert _check(records) > len(records) // 4


def test_more_records_than_are_made_at_once() -> None:
    records = [{"type": "human", "data": {"content": str(number)}} for number in range(3000)]
    made = MESSAGES.from_json(records)
    assert records == []
    assert [message and message.content for message in made] == [str(number) for number in range(3000)]


@pytest.mark.parametrize("whole", [False, True], ids=["own", "old"])
def test_messages_made_together_share_nothing(whole: bool) -> None:
    sample = _CLASSES["ai"](content="x")
    data = sample.model_dump() if whole else {"content": "x"}
    made = MESSAGES.from_json([{"type": "ai", "data": copy.deepcopy(data)} for _ in range(20)])
    first, *others = made
    assert isinstance(first, BaseMessage)
    first.additional_kwargs["a"] = first.response_metadata["a"] = 1
    first.tool_calls.append({})  # type: ignore[attr-defined]
    first.id = "i"
    assert first.model_extra is not None
    first.model_extra["a"] = 1
    assert others == [sample] * 19
    assert all(message is not None and "id" not in message.model_fields_set ^ set(data) for message in others)
