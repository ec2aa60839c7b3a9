"""How much of a request records take, and how many fit into one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from chatstash.errors import RecordTooLarge

_MOST_BYTES_OF_A_CHARACTER = 6
_SCRIPT_ROOM = 9 * 1024
"""Bytes; the largest script that appends has 8 KB, and its other arguments take half a kilobyte."""


def fits(key: str, texts: Sequence[str], limit: int) -> bool:
    """Tell whether records, with a script around them, are within the size of a request.

    Args:
        key: The conversation's key.
        texts: The records' stored form.
        limit: What a request may have, in bytes.

    Raises:
        RecordTooLarge: One record alone is not.
    """
    room = limit - _besides(key)
    # Mostly a look at the lengths is enough.
    return sum(map(len, texts)) * _MOST_BYTES_OF_A_CHARACTER <= room or len(list(parts(key, texts, limit))) == 1


def parts(key: str, texts: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    """Give the records in parts that each are within the size of a request, as few as can be, in their order.

    Args:
        key: The conversation's key.
        texts: The records' stored form.
        limit: What a request may have, in bytes.

    Raises:
        RecordTooLarge: One record alone is not; before the first part is given.
    """
    besides = _besides(key)
    sizes = list(map(_size, texts))
    for index, size in enumerate(sizes):
        if size + besides > limit:
            raise RecordTooLarge(index, size + besides, limit)
    first = used = 0
    for index, size in enumerate(sizes):
        if used + size + besides > limit:
            yield texts[first:index]
            first, used = index, 0
        used += size
    yield texts[first:]


def largest_request(key: str, texts: Sequence[str]) -> int:
    """Return the bytes of the largest request that a part of one record makes."""
    return max(map(_size, texts)) + _besides(key)


def _besides(key: str) -> int:
    """Return what a request has besides its records: the script, and the key up to three times."""
    return _SCRIPT_ROOM + 3 * _size(key)


def _size(text: str) -> int:
    """Return how many bytes a text takes in a request, with the comma after it."""
    return len(orjson.dumps(text)) + 1
