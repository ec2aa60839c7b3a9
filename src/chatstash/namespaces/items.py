"""The stored form of items. Pure.

An item is a JSON array: the form, when it was updated, its ttl in milliseconds or null, and its value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from chatstash.errors import CorruptItem, UnstorableValue, UnsupportedItem
from chatstash.namespaces.layout import created_field

FORM = 1


class StoredItem(NamedTuple):
    """An item.

    Attributes:
        namespace: The namespace it is in.
        key: Its key.
        value: Its value.
        created_at: When it was created, in microseconds since the epoch.
        updated_at: When it was last updated, the same.
        ttl: Milliseconds for which it lives after it was updated or read; None for ever.
    """

    namespace: str
    key: str
    value: dict[str, Any]
    created_at: int
    updated_at: int
    ttl: int | None


def dumped(value: Mapping[str, Any], updated_at: int, ttl: int | None, *, key: str) -> str:
    """Return the text of an item; raises UnstorableValue if JSON cannot hold its value."""
    try:
        return json.dumps([FORM, updated_at, ttl, dict(value)], ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableValue(key, str(error) or type(error).__name__) from error


def loaded(namespace: str, key: str, text: bytes, created: bytes | None) -> StoredItem:
    """Return a stored item.

    Raises:
        UnsupportedItem: A newer version of chatstash wrote it.
        CorruptItem: It is damaged.
    """
    try:
        form, updated_at, ttl, value = _parsed(text)
        if form == FORM:
            return StoredItem(namespace, key, value, int(created or updated_at), updated_at, ttl)
    except (ValueError, TypeError) as error:
        raise CorruptItem(namespace, key, f"it cannot be read ({type(error).__name__})") from None
    raise UnsupportedItem(namespace, key, form)


def items_in(namespace: str, fields: Mapping[str, bytes]) -> Iterator[StoredItem]:
    """Return the items of a hash."""
    for field, text in fields.items():
        if field.startswith("v"):
            yield loaded(namespace, field[1:], text, fields.get(created_field(field[1:])))


def in_order(items: Iterable[StoredItem]) -> list[StoredItem]:
    """Return items, the one created first at the beginning."""
    return sorted(items, key=lambda item: (item.created_at, item.key))


def _parsed(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        # json writes NaN, and numbers of any size.
        return json.loads(text)
