"""Messages copied from one that pydantic has validated, in a third of the time. Pure.

Most messages have a few texts and default values otherwise. The validator's result for such a message depends only on
which fields are given, so it is learned from the validator once for each set of fields.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

VALIDATION_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors that invalid data causes. Not Exception: a signal handler, as of a soft time limit, may raise any."""

_TEXTS = frozenset(("content", "id", "name", "role", "tool_call_id"))
"""Fields whose text every validator leaves unchanged."""

_IMMUTABLE = (str, int, bool, type(None))

_new: Any = object.__new__

# pydantic's model_construct sets these with object.__setattr__, which takes twice as long.
_set_fields, _set_given, _set_extra, _set_private = (
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


class Template:
    """Makes messages of a class from data with certain names, a few texts and default values otherwise.

    Args:
        kind: The class.
        sample: Such data.
        validated: The validator's message for it.
    """

    def __init__(self, kind: type[BaseMessage], sample: Mapping[str, Any], validated: BaseMessage) -> None:
        model_fields = kind.model_fields
        self._kind = kind
        self._fields = dict(vars(validated))
        self._extra = dict(validated.__pydantic_extra__ or {})
        self._given = set(sample)
        self._dicts = [name for name, value in self._fields.items() if type(value) is dict]
        self._lists = [name for name, value in self._fields.items() if type(value) is list]
        self._texts = [(name, model_fields[name].default is None) for name in sample if _is_text(kind, name)]
        self._fixed = [(name, type(value), value) for name, value in sample.items() if not _is_text(kind, name)]

    def message(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message of data with the sample's names; None if a value must be validated."""
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
    """Return the template for data with these names in this order; None if copies would not be equal."""
    sample = {name: _sample(kind, name) for name in names}
    try:
        validated = kind.__pydantic_validator__.validate_python(copy.deepcopy(sample), self_instance=kind.__new__(kind))
    except VALIDATION_ERRORS:
        return None
    return Template(kind, sample, validated) if _can_be_copied(validated, sample) else None


def _sample(kind: type[BaseMessage], name: str) -> Any:
    # A name without a field is usually `example` of older messages, which is False.
    field = kind.model_fields.get(name)
    if field is None:
        return False
    return "x" if name in _TEXTS else field.get_default(call_default_factory=True)


def _can_be_copied(validated: BaseMessage, sample: Mapping[str, Any]) -> bool:
    """Tell whether a message has the sample's values unchanged, and otherwise values that copies can share or make."""
    extra = validated.__pydantic_extra__
    values = {**vars(validated), **(extra or {})}
    return (
        extra is not None
        and validated.__pydantic_private__ is None
        and validated.model_fields_set == set(sample)
        and all(name in values and _is_same(values[name], value) for name, value in sample.items())
        and all(
            type(value) in _IMMUTABLE or (type(value) in (dict, list) and not value)
            for value in vars(validated).values()
        )
    )


def _is_same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _is_text(kind: type[BaseMessage], name: str) -> bool:
    return name in _TEXTS and name in kind.model_fields


def _is_utf8(value: Any) -> bool:
    """Tell whether a value is a str that pydantic accepts, without half a surrogate pair."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
