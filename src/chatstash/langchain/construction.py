"""Messages made without their constructors, equal to what those make, in a fraction of the time. Pure.

A message's constructor hands its keyword arguments to pydantic's validator as they are, with a few exceptions. Here
the class's own validator fills an instance directly. The exceptions are left to the constructor: names that it has a
parameter for, classes whose constructor does more, and whatever a validator refuses, so that errors are its own.

What is made of the names that messages mostly have is learned, so that the next needs no validator (`template`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from chatstash.langchain.templates import WHAT_VALIDATORS_RAISE, Template, template_of

_ANY = {"content": "x", "name": "n", "role": "r", "tool_call_id": "t"}
"""What a message of any class can be made of, but for those whose constructor does more."""


_MOST_TEMPLATES = 64


class Fill:
    """Makes messages of a class.

    Args:
        kind: The class.

    Attributes:
        templates: What was learned so far: of the names of fields, a template, or None where none would do.
    """

    def __init__(self, kind: type[BaseMessage]) -> None:
        self._kind = kind
        self._learned = False
        self._taken: frozenset[str] = frozenset()
        self._validate: Callable[..., BaseMessage] | None = None
        self.templates: dict[tuple[str, ...], Template | None] = {}

    def __call__(self, data: Mapping[str, Any]) -> BaseMessage | None:
        """Return the message with these fields, as the class's constructor makes it; None where that must do it."""
        template = self.templates.get(tuple(data))
        copied = None if template is None else template.filled(data)
        return self._validated(data) if copied is None else copied

    def _validated(self, data: Mapping[str, Any]) -> BaseMessage | None:
        if not self._learned:
            self._learn()
        if self._validate is None or "content" not in data or not self._taken.isdisjoint(data):
            return None
        kind, names = self._kind, tuple(data)
        if names not in self.templates and len(self.templates) < _MOST_TEMPLATES:
            self.templates[names] = template_of(kind, names)
        try:
            return self._validate(dict(data), self_instance=kind.__new__(kind))
        except WHAT_VALIDATORS_RAISE:
            return None

    def _learn(self) -> None:
        self._taken = _parameters(self._kind)
        if _is_plain(self._kind):
            self._validate = self._kind.__pydantic_validator__.validate_python
        # Last: another thread goes by it.
        self._learned = True


def _parameters(kind: type[BaseMessage]) -> frozenset[str]:
    """Return the names that constructors on the way keep for themselves, but for the content, which all hand on."""
    constructors = [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
    names = {name for constructor in constructors for name in inspect.signature(constructor).parameters}
    return frozenset(names - {"content"})


def _is_plain(kind: type[BaseMessage]) -> bool:
    """Tell whether the constructor of a class does nothing but hand on: tried, with a message."""
    try:
        made = kind(**_ANY)
    except WHAT_VALIDATORS_RAISE:
        return False
    filled = kind.__pydantic_validator__.validate_python(dict(_ANY), self_instance=kind.__new__(kind))
    return bool(filled.__getstate__() == made.__getstate__())
