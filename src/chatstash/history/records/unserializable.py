"""Finds the value of a message that JSON cannot represent. Pure."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from chatstash.errors import UnstorableMessage

COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
"""Writes records. It does not escape non-ASCII text, which then takes its UTF-8 size."""


def unstorable_message(data: Mapping[str, Any], error: Exception, index: int) -> UnstorableMessage:
    """Return the error for a message that JSON cannot represent; it names the value.

    Args:
        data: The message's fields.
        error: The error that `COMPACT` raised.
        index: The message's index in its sequence.
    """
    path, value = _first_unstorable(data)
    path = path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
    if isinstance(error, RecursionError):
        return UnstorableMessage("it is nested too deeply, or contains itself", index=index, path=path)
    if not path:
        return UnstorableMessage(f"JSON cannot hold it ({error})", index=index)
    return UnstorableMessage(f"JSON cannot hold a {type(value).__name__} ({error})", index=index, path=path)


def _first_unstorable(data: Mapping[str, Any]) -> tuple[str, Any]:
    """Return path and value of the first leaf or key that JSON cannot represent; an empty path where there is none."""
    for name, value in data.items():
        if found := _search(value, name if name.isidentifier() else _SHORT.repr(name), depth=0):
            return found
    return "", None


_DEEPEST_SEARCH = 200
_LONGEST_PATH = 400
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def _search(value: Any, path: str, depth: int) -> tuple[str, Any] | None:
    if depth > _DEEPEST_SEARCH:
        return path, value
    if not isinstance(value, (dict, list, tuple)):
        return None if _is_storable(value) else (path, value)
    for step, child in _children(value):
        if isinstance(value, dict) and not _is_storable_key(step):
            return f"{path}[{_SHORT.repr(step)}] (the key)", step
        if found := _search(child, f"{path}[{_SHORT.repr(step)}]", depth + 1):
            return found
    return None


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value)


def _is_storable_key(key: Any) -> bool:
    return isinstance(key, (str, int, float, bool)) or key is None


def _is_storable(value: Any) -> bool:
    try:
        COMPACT.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
