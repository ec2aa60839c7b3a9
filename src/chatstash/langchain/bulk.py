"""Messages made from the parsed JSON of many records, those that look alike together. Pure.

Each step is a loop over all records that runs in C.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from operator import contains, itemgetter
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import BaseMessage

from chatstash.langchain.construction import FastConstructor
from chatstash.langchain.template import Template

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
R = TypeVar("R")
_Data: TypeAlias = dict[str, Any]

_PART = 1024
"""How many records are converted at once; the JSON of each part is released before the next."""

_FEW = 8
"""Records fewer than this are converted one by one, which takes less time."""

_type_of, _data_of = itemgetter("type"), itemgetter("data")


def messages_of(parsed: list[Any], constructors: Mapping[str, FastConstructor]) -> list[BaseMessage | None]:
    """Return the message of each record, or None where it cannot be copied from a template. Consumes the list."""
    messages: list[BaseMessage | None] = []
    parsed.reverse()
    while parsed:
        part = parsed[: -_PART - 1 : -1]
        del parsed[-_PART:]
        messages += _of_part(part, constructors)
    return messages


def _of_part(part: list[Any], constructors: Mapping[str, FastConstructor]) -> Sequence[BaseMessage | None]:
    if len(part) >= _FEW:
        with suppress(LookupError, TypeError):
            return _together(part, constructors)
        # One of them is no record, or of another form.
    return [_message_of(record, constructors) for record in part]


def _message_of(record: Any, constructors: Mapping[str, FastConstructor]) -> BaseMessage | None:
    try:
        data = record["data"]
        template = None if "v" in record else constructors[record["type"]].template(tuple(data))
        return None if template is None else template.message(data)
    except (LookupError, TypeError):
        return None


def _together(part: list[Any], constructors: Mapping[str, FastConstructor]) -> Sequence[BaseMessage | None]:
    types, data = [*map(_type_of, part)], [*map(_data_of, part)]
    if {*map(type, data)} != {dict} or any(map(contains, part, repeat("v"))):
        raise TypeError
    return _in_groups(types, data, lambda name, group: _of_type(constructors.get(name), group))


def _of_type(constructor: FastConstructor | None, data: list[_Data]) -> Sequence[BaseMessage | None]:
    if constructor is None:
        return [None] * len(data)
    return _in_groups([*map(tuple, data)], data, lambda names, group: _of_names(constructor.template(names), group))


def _of_names(template: Template | None, data: list[_Data]) -> Sequence[BaseMessage | None]:
    return [None] * len(data) if template is None else template.messages(data)


def _in_groups(keys: list[K], values: list[V], make: Callable[[K, list[V]], Sequence[R]]) -> Sequence[R]:
    """Make something of the values with the same key together, and return all in their order."""
    groups: dict[K, list[V]] = {key: [] for key in {*keys}}
    if len(groups) == 1:
        return make(keys[0], values)
    # Runs to the end: `append` returns None.
    any(map(list.append, map(groups.__getitem__, keys), values))
    made = {key: iter(make(key, group)) for key, group in groups.items()}
    return [*map(next, map(made.__getitem__, keys))]
