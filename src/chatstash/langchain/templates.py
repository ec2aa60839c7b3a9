"""Messages made by copying one that pydantic has validated, in a third of the time. Pure.

Most messages are a few texts, and all else has its default value. What the validator makes of such a message depends
only on which fields are given; so it is learned once for those, from the validator itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

WHAT_VALIDATORS_RAISE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Not Exception: a signal handler may raise anything at any moment (a soft time limit), and that is no bad data."""

_TEXTS = frozenset(("content", "id", "name", "role", "tool_call_id"))
"""Fields in which every validator leaves a text as it is."""

_SHARED = (str, int, bool, type(None))

_new: Any = object.__new__

# What pydantic's own model_construct sets with object.__setattr__, which takes twice as long.
_set_fields, _set_given, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


class Template:
    """Makes messages of a class of data that has certain names, a few texts and otherwise defaults.

    Args:
        kind: The class.
        sample: Such data.
        made: What the validator makes of it.
    """

    def __init__(self, kind: type[BaseMessage], sample: Mapping[str, Any], made: BaseMessage) -> None:
        known = kind.model_fields
        self._kind = kind
        self._fields = dict(vars(made))
        self._extra = dict(made.__pydantic_extra__ or {})
        self._given = set(sample)
        self._dicts = [name for name, value in self._fields.items() if type(value) is dict]
        self._lists = [name for name, value in self._fields.items() if type(value) is list]
        self._texts = [(name, known[name].default is None) for name in sample if _is_text(kind, name)]
        self._fixed = [(name, type(value), value) for name, value in sample.items() if not _is_text(kind, name)]

    def filled(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message of data with the sample's names; None where a value is not of the kind that is copied."""
        fields = self._fields.copy()
        for name, may_be_none in self._texts:
            value = fields[name] = data[name]
            if type(value) is str and value.isascii():
                continue
            if not (value is None and may_be_none) and not _is_utf8(value):
                return None
        for name, kind, default in self._fixed:
            value = data[name]
            if type(value) is not kind or value != default:
                return None
        for name in self._dicts:
            fields[name] = {}
        for name in self._lists:
            fields[name] = []
        message = _new(self._kind)
        _set_fields(message, fields)
        _set_given(message, self._given.copy())
        _set_extra(message, {**self._extra})
        _set_private(message, None)
        return message  # type: ignore[no-any-return]


def template_of(kind: type[BaseMessage], names: tuple[str, ...]) -> Template | None:
    """Return the template for data that has these names, in this order; None where copying would not do."""
    sample = {name: _sample(kind, name) for name in names}
    try:
        made = kind.__pydantic_validator__.validate_python(copy.deepcopy(sample), self_instance=kind.__new__(kind))
    except WHAT_VALIDATORS_RAISE:
        return None
    return Template(kind, sample, made) if _can_be_copied(made, sample) else None


def _sample(kind: type[BaseMessage], name: str) -> Any:
    # What is no field is mostly one that older messages have: `example`, which is False.
    field = kind.model_fields.get(name)
    if field is None:
        return False
    return "x" if name in _TEXTS else field.get_default(call_default_factory=True)


def _can_be_copied(made: BaseMessage, sample: Mapping[str, Any]) -> bool:
    """Tell whether a message has all that was given as it was given, and otherwise what copies can share or make."""
    extra = made.__pydantic_extra__
    everything = {**vars(made), **(extra or {})}
    return (
        extra is not None
        and made.__pydantic_private__ is None
        and made.model_fields_set == set(sample)
        and all(name in everything and _same(everything[name], value) for name, value in sample.items())
        and all(type(value) in _SHARED or (type(value) in (dict, list) and not value) for value in vars(made).values())
    )


def _same(value: Any, given: Any) -> bool:
    return type(value) is type(given) and bool(value == given)


def _is_text(kind: type[BaseMessage], name: str) -> bool:
    return name in _TEXTS and name in kind.model_fields


def _is_utf8(value: Any) -> bool:
    """Tell whether it is a string that pydantic takes: one with half a surrogate pair it refuses."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
