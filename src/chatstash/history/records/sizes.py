"""The size of requests that append records, and how many records fit into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from chatstash.errors import RecordTooLarge

_MOST_BYTES_PER_CHARACTER = 6
_SCRIPT_BYTES = 9 * 1024
"""The largest script that appends takes 8 KB, its other arguments half a kilobyte."""


def fits(key: str, texts: Sequence[str], limit: int) -> bool:
    """Tell whether records, sent with a script, fit into one request."""
    room = limit - _overhead(key)
    # Usually the lengths alone decide.
    return sum(map(len, texts)) * _MOST_BYTES_PER_CHARACTER <= room or len(list(parts(key, texts, limit))) == 1


def parts(key: str, texts: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    """Yield the records, in order, in as few parts as possible that each fit into one request."""
    overhead = _overhead(key)
    sizes = list(map(_size, texts))
    for index, size in enumerate(sizes):
        if size + overhead > limit:
            raise RecordTooLarge(index, size + overhead, limit)
    first = used = 0
    for index, size in enumerate(sizes):
        if used + size + overhead > limit:
            yield texts[first:index]
            first, used = index, 0
        used += size
    yield texts[first:]


def largest_request(key: str, texts: Sequence[str]) -> int:
    """Return the size in bytes of the largest request with a single record."""
    return max(map(_size, texts)) + _overhead(key)


def size_of(commands: Sequence[Sequence[object]]) -> int:
    """Return the bytes that commands take in a script's arguments, keys included."""
    return sum(2 * _size(str(word)) for command in commands for word in command)


def _overhead(key: str) -> int:
    """Return the bytes of a request without its records: the script, and the key up to three times."""
    return _SCRIPT_BYTES + 3 * _size(key)


def _size(text: str) -> int:
    """Return the bytes that a text takes in a request, with the comma after it."""
    return len(orjson.dumps(text)) + 1
