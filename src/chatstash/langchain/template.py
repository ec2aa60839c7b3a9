"""Messages copied from one that pydantic validated. Pure.

Most messages have a few texts and default values otherwise. The validator's result for such a message depends only on
which fields are given, so it is learned from the validator once for each set of fields, as a template.

Messages that look alike are made together, one attribute after the other, in loops that run in C.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import filterfalse, repeat
from operator import itemgetter, or_, setitem
from types import NoneType
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

VALIDATION_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors that invalid data causes. Not Exception: a signal handler, as of a soft time limit, may raise any."""

_TEXTS = frozenset(("content", "id", "name", "role", "tool_call_id"))
"""Fields whose text every validator leaves unchanged."""

_IMMUTABLE = (str, int, bool, NoneType)

_new: Any = object.__new__

# pydantic's model_construct sets these with object.__setattr__, which takes twice as long.
_set_fields, _set_given, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


class Template:
    """Makes messages of a class from data like a sample: the same names, with a few texts and default values."""

    def __init__(self, kind: type[BaseMessage], sample: Mapping[str, Any], validated: BaseMessage) -> None:
        self._kind = kind
        self._fields = dict(vars(validated))
        self._extra = dict(validated.__pydantic_extra__ or {})
        self._given = set(sample)
        self._is_whole = list(sample) == list(self._fields)
        self._containers = [(name, value.copy) for name, value in self._fields.items() if type(value) in (dict, list)]
        self._texts = [(name, kind.model_fields[name].default is None) for name in sample if _is_text_field(kind, name)]
        self._fixed = [(name, value) for name, value in sample.items() if not _is_text_field(kind, name)]

    def message(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message of data with the sample's names; None if a value must be validated."""
        fields = self._fields.copy()
        for name, may_be_none in self._texts:
            value = fields[name] = data[name]
            if not (value is None and may_be_none) and not is_text(value):
                return None
        for name, default in self._fixed:
            value = data[name]
            if type(value) is not type(default) or value != default:
                return None
        for name, copied in self._containers:
            fields[name] = copied()
        message = _new(self._kind)
        _set_fields(message, fields)
        _set_given(message, self._given.copy())
        _set_extra(message, self._extra.copy())
        _set_private(message, None)
        return message  # type: ignore[no-any-return]

    def messages(self, data: Sequence[dict[str, Any]]) -> Sequence[BaseMessage | None]:
        """Return what `message` returns of each data, in less time. The data becomes part of the messages."""
        if self._extra or not self._fits_all(data):
            return [*map(self.message, data)]
        messages = [*map(_new, repeat(self._kind, len(data)))]
        _run(map(_set_fields, messages, self._all_fields(data)))
        _run(map(_set_given, messages, _copies(self._given, len(data))))
        _run(map(_set_extra, messages, _copies(self._extra, len(data))))
        _run(map(_set_private, messages, repeat(None)))
        return messages

    def _fits_all(self, data: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether no value must be validated."""
        return all(
            _are_texts(_column(name, data), may_be_none=may_be_none) for name, may_be_none in self._texts
        ) and all(_are_defaults(_column(name, data), default) for name, default in self._fixed)

    def _all_fields(self, data: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Return the fields of each message."""
        if self._is_whole:
            # Nobody else has the empty containers among the values. Equal texts are shared, to save memory.
            for name, default in self._fixed:
                if type(default) is str:
                    _run(map(setitem, data, repeat(name), repeat(default)))
            return data
        fields = [*map(or_, repeat(self._fields), data)]
        for name, copied in self._containers:
            _run(map(setitem, fields, repeat(name), _copies(copied(), len(data))))
        return fields


def _copies(value: Any, count: int) -> Iterator[Any]:
    return map(type(value).copy, repeat(value, count))


def _column(name: str, data: Iterable[Mapping[str, Any]]) -> list[Any]:
    return [*map(itemgetter(name), data)]


def _run(calls: Iterable[object]) -> None:
    # Unlike a deque without room, `any` allocates nothing; none of the calls returns a true value.
    any(calls)


def _are_defaults(values: list[Any], default: Any) -> bool:
    """Tell whether all values have the type of the default value, and equal it."""
    if {*map(type, values)} != {type(default)}:
        return False
    return values.count(default) == len(values) if default else not any(values)


def is_text(value: Any) -> bool:
    """Tell whether a value is a string without half a surrogate pair, which pydantic refuses."""
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _are_texts(values: list[Any], *, may_be_none: bool) -> bool:
    """Tell whether `is_text` is true of all values, in loops that run in C; if `may_be_none`, None counts as text."""
    types = {*map(type, values)} - {NoneType} if may_be_none else {*map(type, values)}
    try:
        all(map(str.encode, filterfalse(str.isascii, filter(None, values) if types <= {str} else ())))
    except UnicodeEncodeError:
        return False
    return types <= {str}


def template_of(kind: type[BaseMessage], names: tuple[str, ...]) -> Template | None:
    """Return the template for data with these names in this order; None if copies would not be equal."""
    sample = {name: _sample(kind, name) for name in names}
    try:
        message = validated(kind, copy.deepcopy(sample))
    except VALIDATION_ERRORS:
        return None
    return Template(kind, sample, message) if _can_be_copied(message, sample) else None


def validated(kind: type[BaseMessage], data: dict[str, Any]) -> BaseMessage:
    """Return the message that pydantic's validator makes of data."""
    return kind.__pydantic_validator__.validate_python(data, self_instance=kind.__new__(kind))  # type: ignore[no-any-return]


def _sample(kind: type[BaseMessage], name: str) -> Any:
    # A name without a field is usually `example` of older messages, which is False.
    field = kind.model_fields.get(name)
    if field is None:
        return False
    return "x" if name in _TEXTS else field.get_default(call_default_factory=True)


def _can_be_copied(message: BaseMessage, sample: Mapping[str, Any]) -> bool:
    """Tell whether a message has the sample's values unchanged, and otherwise values that copies can share or make."""
    extra, fields = message.__pydantic_extra__, vars(message)
    if extra is None or message.__pydantic_private__ is not None or message.model_fields_set != set(sample):
        return False
    values = {**fields, **extra}
    are_same = all(type(values.get(name)) is type(value) and values[name] == value for name, value in sample.items())
    return are_same and all(
        type(value) in _IMMUTABLE or (type(value) in (dict, list) and not value) for value in fields.values()
    )


def _is_text_field(kind: type[BaseMessage], name: str) -> bool:
    return name in _TEXTS and name in kind.model_fields
