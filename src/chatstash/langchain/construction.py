"""Messages constructed without their constructors: equal to theirs, in a fraction of the time. Pure.

A constructor passes its keyword arguments to pydantic's validator unchanged, with a few exceptions. Here the validator
fills an instance directly. The exceptions are left to the constructor: names that it has a parameter for, classes whose
constructor does more, and data that the validator refuses, so that errors are the constructor's.

Most messages have a few texts and default values otherwise. The validator's result for such a message depends only on
which fields are given, so it is learned from the validator once for each set of fields, as a template.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from functools import cached_property
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

_SAMPLE = {"content": "x", "name": "n", "role": "r", "tool_call_id": "t"}
"""Valid data for any message class whose constructor does nothing else."""

_MAX_TEMPLATES = 64


class FastConstructor:
    """Constructs messages of one class."""

    def __init__(self, kind: type[BaseMessage]) -> None:
        self._kind = kind
        self.templates: dict[tuple[str, ...], Template | None] = {}
        """By the names of fields: a template, or None if copies would not be equal."""

    def __call__(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message with these fields; None if only the class's constructor can make it."""
        template = self.templates.get(tuple(data))
        copied = None if template is None else template.message(data)
        return self._construct(data) if copied is None else copied

    def _construct(self, data: Mapping[str, Any]) -> BaseMessage | None:
        kind, names = self._kind, tuple(data)
        if not self._is_plain or "content" not in data or not self._parameters.isdisjoint(data):
            return None
        if names not in self.templates and len(self.templates) < _MAX_TEMPLATES:
            self.templates[names] = _template_of(kind, names)
        try:
            return _validated(kind, dict(data))
        except VALIDATION_ERRORS:
            return None

    @cached_property
    def _parameters(self) -> frozenset[str]:
        """The parameters of the constructors of the class and its bases, except `content`, which all pass on."""
        constructors = [vars(base)["__init__"] for base in self._kind.__mro__[:-1] if "__init__" in vars(base)]
        names = {name for constructor in constructors for name in inspect.signature(constructor).parameters}
        return frozenset(names - {"content"})

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the constructor of the class only passes its arguments on, found by constructing a message."""
        try:
            constructed = self._kind(**_SAMPLE)
        except VALIDATION_ERRORS:
            return False
        return bool(_validated(self._kind, dict(_SAMPLE)).__getstate__() == constructed.__getstate__())


def _validated(kind: type[BaseMessage], data: dict[str, Any]) -> BaseMessage:
    return kind.__pydantic_validator__.validate_python(data, self_instance=kind.__new__(kind))  # type: ignore[no-any-return]


class Template:
    """Makes messages of a class from data like a sample: the same names, with a few texts and default values."""

    def __init__(self, kind: type[BaseMessage], sample: Mapping[str, Any], validated: BaseMessage) -> None:
        self._kind = kind
        self._fields = dict(vars(validated))
        self._extra = dict(validated.__pydantic_extra__ or {})
        self._given = set(sample)
        self._dicts = [name for name, value in self._fields.items() if type(value) is dict]
        self._lists = [name for name, value in self._fields.items() if type(value) is list]
        self._texts = [(name, kind.model_fields[name].default is None) for name in sample if _is_text(kind, name)]
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


def _template_of(kind: type[BaseMessage], names: tuple[str, ...]) -> Template | None:
    """Return the template for data with these names in this order; None if copies would not be equal."""
    sample = {name: _sample(kind, name) for name in names}
    try:
        validated = _validated(kind, copy.deepcopy(sample))
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
    extra, fields = validated.__pydantic_extra__, vars(validated)
    if extra is None or validated.__pydantic_private__ is not None or validated.model_fields_set != set(sample):
        return False
    values = {**fields, **extra}
    are_same = all(type(values.get(name)) is type(value) and values[name] == value for name, value in sample.items())
    return are_same and all(
        type(value) in _IMMUTABLE or (type(value) in (dict, list) and not value) for value in fields.values()
    )


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
