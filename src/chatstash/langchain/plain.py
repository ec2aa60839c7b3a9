"""The records of messages that hold a few texts and otherwise default values, without pydantic's `model_dump`. Pure.

`model_dump` and the comparison with default values take two thirds of the time of an append.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from operator import itemgetter
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from chatstash.history.records.record import Record
from chatstash.langchain.template import is_text

_CLASSES = frozenset((HumanMessage, AIMessage, SystemMessage))
_TEXTS = ("content", "name", "id")
"""In the order in which `model_dump` returns them."""

_texts_of = itemgetter(*_TEXTS)


def plain_record(message: object) -> Record | None:
    """Return the record of a message, which LangChain can read back; None if `model_dump` must tell its fields.

    Only objects of exactly the classes for people, models and instructions are looked at: a subclass may dump its
    fields in its own way.
    """
    kind: Any = type(message)
    if kind not in _CLASSES or message.__pydantic_extra__:  # type: ignore[attr-defined]
        return None
    form = _form_of(kind)
    return None if form is None else form.record(vars(message))


class _Form:
    """The fields of a class: texts, and others with default values."""

    def __init__(self, kind: type[BaseMessage]) -> None:
        others = [name for name in kind.model_fields if name not in _TEXTS]
        defaults = [kind.model_fields[name].get_default(call_default_factory=True) for name in others]
        self._type: str = kind.model_fields["type"].default
        self._count = len(_TEXTS) + len(others)
        self._others = itemgetter(*others)
        self._defaults = tuple(defaults)
        self._types = [*map(type, defaults)]

    def record(self, fields: Mapping[str, Any]) -> Record | None:
        """Return the record of texts; None if another field has a value of its own, or a text is none."""
        try:
            others = self._others(fields)
            content, name, message_id = _texts_of(fields)
        except KeyError:
            return None
        # Types first: 0 and False are equal, but differ in JSON.
        if len(fields) != self._count or [*map(type, others)] != self._types or others != self._defaults:
            return None
        if not is_text(content) or not (name is None or is_text(name)):
            return None
        data = {"content": content} if name is None else {"content": content, "name": name}
        if message_id is not None:
            if not is_text(message_id):
                return None
            data["id"] = message_id
        return Record(self._type, data)


@cache
def _form_of(kind: type[BaseMessage]) -> _Form | None:
    """Return the form of a class; None if it does not dump its fields as they are."""
    sample = kind(content="c", name="n", id="i")
    is_plain = [*sample.model_dump().items()] == [*vars(sample).items()] and {*_TEXTS} < {*vars(sample)}
    return _Form(kind) if is_plain else None
