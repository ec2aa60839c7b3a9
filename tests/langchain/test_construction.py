"""Messages that are read equal those of LangChain's `messages_from_dict`, to the last attribute."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, messages_from_dict

from chatstash.errors import CorruptRecord, UnstorableMessage
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.history.records.record import Record
from chatstash.langchain.construction import FastConstructor
from chatstash.langchain.messages import _CLASSES, to_message, to_records
from tests.strategies import EVERY_KIND, JSON_VALUES, equal, message

_FIELDS = sorted({name for kind in _CLASSES.values() for name in kind.model_fields})
_ODD_NAMES = ["self", "args", "kwargs", "data", "content_blocks", "custom", "rid", "lc_attributes", "__dict__",
              "__class__", "__pydantic_extra__", "__pydantic_private__", "model_config", ""]  # fmt: skip
_NAMES = st.sampled_from([*_FIELDS, *_ODD_NAMES]) | st.text(max_size=6)
_HALVES = st.text(alphabet=st.characters(categories=["Cs", "Ll"]), max_size=4)
_VALUES = JSON_VALUES | st.just({}) | st.just([]) | st.none() | _HALVES
_ANY_DATA = st.dictionaries(_NAMES, _VALUES, max_size=4)
_REQUIRED = st.fixed_dictionaries(
    {"content": st.text(max_size=20) | _HALVES | st.lists(st.text(max_size=5) | _ANY_DATA, max_size=2)},
    optional={"name": st.text(max_size=5), "role": st.text(max_size=5), "tool_call_id": st.text(max_size=5),
              "id": st.text(max_size=5), "additional_kwargs": _ANY_DATA},
)  # fmt: skip
_STORED = message().map(lambda made: dict(to_records([made])[0].data))
DATA = (
    _REQUIRED
    | st.builds(lambda base, more: {**base, **more}, _REQUIRED | _STORED, st.dictionaries(_NAMES, _VALUES, max_size=2))
    | _STORED
    | _ANY_DATA
)
COPIES: dict[str, Callable[[BaseMessage], BaseMessage]] = {
    "itself": lambda made: made,
    "pickled": lambda made: pickle.loads(pickle.dumps(made)),
    "copied": copy.copy,
    "copied deeply": copy.deepcopy,
    "model_copy": lambda made: made.model_copy(),
}


def _by_langchain(record: Record) -> BaseMessage | Exception:
    try:
        return messages_from_dict([{"type": record.type, "data": dict(record.data)}])[0]
    except Exception as error:
        return error


def _check(record: Record) -> None:
    before = copy.deepcopy(record.data)
    # A validator may change nested data: each has its own.
    wanted = _by_langchain(Record(record.type, copy.deepcopy(record.data)))
    if isinstance(wanted, Exception):
        with pytest.raises(CorruptRecord) as caught:
            to_message(record)
        assert type(wanted).__name__ in caught.value.reason
        return
    made = to_message(record)
    assert equal(record.data, before)
    for copied in COPIES.values():
        check_state(copied(made), copied(wanted))


def check_state(made: BaseMessage, wanted: BaseMessage) -> None:
    assert type(made) is type(wanted)
    assert list(made.__dict__) == list(wanted.__dict__)
    for attribute in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
        assert equal(getattr(made, attribute), getattr(wanted, attribute)), attribute
    assert made.model_fields_set == wanted.model_fields_set
    assert equal(made.__getstate__()["__dict__"], wanted.__getstate__()["__dict__"])
    assert repr(made) == repr(wanted)


@pytest.mark.parametrize("kind", _CLASSES)
@given(data=DATA)
def test_messages_of_any_data_equal_langchains(kind: str, data: dict[str, Any]) -> None:
    _check(Record(kind, data))


@pytest.mark.parametrize("kind", _CLASSES)
def test_messages_of_simple_data_equal_langchains(kind: str) -> None:
    for content in ("", "x", "naïve 😀", "\ud800", None, 7, [], ["x", {"type": "text", "text": "y"}]):
        for more in ({}, {"name": "n", "role": "r", "tool_call_id": "t"}, {"id": "i"}):
            _check(Record(kind, {"content": content, **more}))


@pytest.mark.parametrize("made", EVERY_KIND, ids=lambda made: made.type)
def test_each_kind_of_message_is_read_back_equal(made: BaseMessage) -> None:
    (record,) = to_records([made])
    _check(decode(encode(record).encode()))
    _check(Record(made.type, made.model_dump()))


def test_messages_of_one_record_share_nothing() -> None:
    record = Record("ai", {"content": "x"})
    first, second = to_message(record), to_message(record)
    first.additional_kwargs["a"] = first.response_metadata["a"] = 1
    first.tool_calls.append({})  # type: ignore[attr-defined]
    assert second == to_message(record) != first
    assert record.data == {"content": "x"}


@pytest.mark.parametrize("kind", sorted(set(_CLASSES) - {"remove"}))
def test_constructors_are_not_called(kind: str) -> None:
    made = FastConstructor(_CLASSES[kind])({"content": "x", "name": "n", "role": "r", "tool_call_id": "t"})
    assert type(made) is _CLASSES[kind]


def test_a_constructor_with_its_own_behaviour_is_called() -> None:
    class Odd(_CLASSES["human"]):  # type: ignore[misc]
        def __init__(self, content: str, **kwargs: Any) -> None:
            super().__init__(content=content.upper(), **kwargs)

    class Named(_CLASSES["human"]):  # type: ignore[misc]
        def __init__(self, content: str, *, flag: bool = False, **kwargs: Any) -> None:
            super().__init__(content=content, flagged=flag, **kwargs)

    class Marked(_CLASSES["human"]):  # type: ignore[misc]
        def __init__(self, content: str, *, flag: bool = False, **kwargs: Any) -> None:
            super().__init__(content=f"!{content}" if flag else content, **kwargs)

    assert FastConstructor(Odd)({"content": "x"}) is None
    assert FastConstructor(Named)({"content": "x"}) is None
    marked = FastConstructor(Marked)
    assert marked({"content": "x"}) == Marked("x")
    assert marked({"content": "x", "flag": True}) is None


class _Text(str):
    __slots__ = ()


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("kind", sorted(_CLASSES))
@given(changes=st.dictionaries(_NAMES.filter(lambda name: name in _FIELDS), _VALUES | st.just(_Text("y")), max_size=2))
def test_what_is_stored_can_be_read_back(kind: str, changes: dict[str, Any]) -> None:
    made = next(sample for sample in EVERY_KIND if type(sample) is _CLASSES[kind]).model_copy(update=changes)
    try:
        (record,) = to_records([made])
        text = encode(record)
    except UnstorableMessage:
        return
    stored = decode(text.encode())
    assert isinstance(_by_langchain(stored), BaseMessage)
    assert to_message(stored).type == stored.type
