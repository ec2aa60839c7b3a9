"""Messages constructed without their constructors: equal to theirs, in a fraction of the time. Pure.

A constructor passes its keyword arguments to pydantic's validator unchanged, with a few exceptions. Here the validator
fills an instance directly. The exceptions are left to the constructor: names that it has a parameter for, classes whose
constructor does more, and data that the validator refuses, so that errors are the constructor's.

For the most common sets of fields, copies of a validated message replace the validator: see `templates`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from chatstash.langchain.templates import VALIDATION_ERRORS, Template, template_of

_SAMPLE = {"content": "x", "name": "n", "role": "r", "tool_call_id": "t"}
"""Valid data for any message class whose constructor does nothing else."""

_MAX_TEMPLATES = 64


class FastConstructor:
    """Constructs messages of one class.

    Args:
        kind: The class.

    Attributes:
        templates: By the names of fields: a template, or None if copies would not be equal.
    """

    def __init__(self, kind: type[BaseMessage]) -> None:
        self._kind = kind
        self._is_ready = False
        self._parameters: frozenset[str] = frozenset()
        self._validate: Callable[..., BaseMessage] | None = None
        self.templates: dict[tuple[str, ...], Template | None] = {}

    def __call__(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message with these fields; None if only the class's constructor can make it."""
        template = self.templates.get(tuple(data))
        copied = None if template is None else template.message(data)
        return self._validated(data) if copied is None else copied

    def _validated(self, data: Mapping[str, Any]) -> BaseMessage | None:
        if not self._is_ready:
            self._prepare()
        if self._validate is None or "content" not in data or not self._parameters.isdisjoint(data):
            return None
        kind, names = self._kind, tuple(data)
        if names not in self.templates and len(self.templates) < _MAX_TEMPLATES:
            self.templates[names] = template_of(kind, names)
        try:
            return self._validate(dict(data), self_instance=kind.__new__(kind))
        except VALIDATION_ERRORS:
            return None

    def _prepare(self) -> None:
        self._parameters = _constructor_parameters(self._kind)
        if _is_plain(self._kind):
            self._validate = self._kind.__pydantic_validator__.validate_python
        # Last: another thread may check it.
        self._is_ready = True


def _constructor_parameters(kind: type[BaseMessage]) -> frozenset[str]:
    """Return the parameters of the constructors of a class and its bases, except `content`, which all pass on."""
    constructors = [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
    names = {name for constructor in constructors for name in inspect.signature(constructor).parameters}
    return frozenset(names - {"content"})


def _is_plain(kind: type[BaseMessage]) -> bool:
    """Tell whether the constructor of a class only passes its arguments on, by constructing a message."""
    try:
        constructed = kind(**_SAMPLE)
    except VALIDATION_ERRORS:
        return False
    filled = kind.__pydantic_validator__.validate_python(dict(_SAMPLE), self_instance=kind.__new__(kind))
    return bool(filled.__getstate__() == constructed.__getstate__())
