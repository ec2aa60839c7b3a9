"""Messages constructed without their constructors: equal to theirs, in a fraction of the time. Pure.

A constructor passes its keyword arguments to pydantic's validator unchanged, with a few exceptions. Here the validator
fills an instance directly, or a template copies one. The exceptions are left to the constructor: names that it has a
parameter for, classes whose constructor does more, and data that the validator refuses, so that errors are the
constructor's.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from langchain_core.messages import BaseMessage

from chatstash.langchain.template import VALIDATION_ERRORS, Template, template_of, validated

_SAMPLE = {"content": "x", "name": "n", "role": "r", "tool_call_id": "t"}
"""Valid data for any message class whose constructor does nothing else."""

_MAX_TEMPLATES = 64


class FastConstructor:
    """Constructs messages of one class."""

    def __init__(self, kind: type[BaseMessage]) -> None:
        self._kind = kind
        self._templates: dict[tuple[str, ...], Template | None] = {}

    def __call__(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message with these fields; None if only the class's constructor can make it."""
        template = self.template(tuple(data))
        copied = None if template is None else template.message(data)
        if copied is not None:
            return copied
        if not self._passes_on(data):
            return None
        try:
            return validated(self._kind, dict(data))
        except VALIDATION_ERRORS:
            return None

    def template(self, names: tuple[str, ...]) -> Template | None:
        """Return the template for data with these names in this order; None if only the validator can make messages."""
        if names not in self._templates:
            if len(self._templates) == _MAX_TEMPLATES or not self._passes_on(names):
                return None
            self._templates[names] = template_of(self._kind, names)
        return self._templates[names]

    def _passes_on(self, names: Collection[str]) -> bool:
        """Tell whether the constructor passes arguments of these names on to the validator, and does nothing else."""
        return self._is_plain and "content" in names and self._parameters.isdisjoint(names)

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
        return bool(validated(self._kind, dict(_SAMPLE)).__getstate__() == constructed.__getstate__())
