"""Raises an error where LangGraph's serialiser would return a value of a type that is not allowed as plain data.

Loading a type imports and calls it with stored data, so whoever can write to the database could run code:
https://nvd.nist.gov/vuln/detail/CVE-2025-64439, https://nvd.nist.gov/vuln/detail/CVE-2026-28277. LangGraph's serialiser
reports each type that it does not load, by an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TypeVar

from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from chatstash.errors import TypeNotAllowed

T = TypeVar("T")

AllowedTypes = Iterable[type | tuple[str, str]]

_refused: ContextVar[list[tuple[str, str]] | None] = ContextVar("chatstash_refused_types", default=None)


def strict_serializer(allowed_types: AllowedTypes) -> JsonPlusSerializer:
    """Return LangGraph's serialiser, which loads only its own list of harmless types and those that are given.

    Raises:
        ValueError: A type is neither a class nor a pair of module and name.
    """
    return JsonPlusSerializer(allowed_msgpack_modules=[_checked(kind) for kind in allowed_types])


def loaded_strictly(load: Callable[[], T]) -> T:
    """Return what `load` returns; raises TypeNotAllowed if it met a type that is not allowed."""
    refused: list[tuple[str, str]] = []
    token = _refused.set(refused)
    try:
        value = load()
    finally:
        _refused.reset(token)
    if refused:
        raise TypeNotAllowed(tuple(dict.fromkeys(refused)))
    return value


def _note(event: SerdeEvent) -> None:
    refused = _refused.get()
    if refused is not None and event["kind"] in ("msgpack_blocked", "msgpack_method_blocked"):
        refused.append((event["module"], event["name"]))


register_serde_event_listener(_note)


def _checked(kind: type | tuple[str, str]) -> tuple[str, str]:
    if isinstance(kind, type):
        return kind.__module__, kind.__name__
    if isinstance(kind, tuple) and len(kind) == 2 and all(isinstance(part, str) for part in kind):
        return kind
    raise ValueError(f"allowed_types holds classes or pairs of module and name, not {kind!r:.80}")
