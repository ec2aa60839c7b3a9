"""Decodes RESP2 bodies with hiredis (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import hiredis

from chatstash.rest.protocol.decoded import Decoded, Failure

_KINDS = (bytes, int, list, Failure, type(None))
_AGGREGATES = b"*~>%|"
_FURTHER_ARRAY = re.compile(rb"\r\n[*~>%|]\d")
# Two patterns, because patterns that begin with fixed bytes are far faster.
_HUGE_COUNT = re.compile(rb"[*~>%|]\d{6}")
_HUGE_COUNT_WITHIN = re.compile(rb"\r\n[*~>%|]\d{6}")
_MAX_DEPTH = 16
"""Arrays within arrays; the replies that this package asks for have three."""
_SHORTEST_ELEMENT = len(b"+\r\n")
_LONGEST_COUNT = 20


def decode_resp2(body: bytes, count: int) -> Decoded:
    """Decode the replies to `count` commands: one after the other, or in one array.

    Raises:
        ValueError: The body does not hold one RESP2 reply for each command.
    """
    if wrong := _structural_error(body):
        raise ValueError(wrong)
    values = _parse(body, count)
    if len(values) == count:
        return values[0] if count == 1 and isinstance(values[0], Failure) else tuple(values)
    if len(values) == 1 and isinstance(values[0], Failure):
        return values[0]
    if len(values) == 1 and isinstance(values[0], list) and len(values[0]) == count:
        return tuple(values[0])
    raise ValueError(f"the RESP2 body has {len(values)} replies to {count} commands")


def _parse(body: bytes, count: int) -> list[Any]:
    # hiredis accepts any callable as replyError; its types say an exception class.
    reader = hiredis.Reader(protocolError=ValueError, replyError=Failure)  # type: ignore[arg-type]
    reader.feed(body)
    try:
        values = [value for _ in range(count) if (value := reader.gets()) is not False]
    except TypeError:
        raise ValueError("the RESP2 body has a map or a set that Python cannot hold") from None
    # By exact type: True is an int, and a RESP3 push is a list.
    if not all(type(value) in _KINDS for value in values):
        raise ValueError("the RESP2 body has a reply of a type that RESP2 does not have")
    if reader.has_data() or not values:
        raise ValueError("the RESP2 body is truncated or has extra bytes")
    return values


def _structural_error(body: bytes) -> str | None:
    """Return what is wrong if a body claims more elements than it can hold, or nests arrays too deeply.

    hiredis would allocate memory for both. The walk over all elements costs as much as hiredis itself, so it is skipped
    if the bytes can hold neither: a list of records has one array, and a six-digit count only if it is long.
    """
    arrays = sum(1 for _ in islice(_FURTHER_ARRAY.finditer(body), _MAX_DEPTH))
    is_huge = _HUGE_COUNT.match(body) or (arrays and _HUGE_COUNT_WITHIN.search(body))
    return _walk(body) if is_huge or arrays == _MAX_DEPTH else None


def _walk(body: bytes) -> str | None:
    """Walk over the elements by their headers; strings are skipped by their length."""
    at, most = 0, len(body) // _SHORTEST_ELEMENT
    missing: list[int] = []  # elements still to come in each open array
    while (end := body.find(b"\r\n", at)) >= 0:
        kind, number = body[at : at + 1], body[at + 1 : end]
        at = end + 2
        if missing:
            missing[-1] -= 1
        if kind in _AGGREGATES or kind in b"$=":
            if not number.removeprefix(b"-").isdigit() or len(number) > _LONGEST_COUNT:
                return "the RESP2 body has an invalid length"
            count = int(number)
            if kind in b"$=":
                at += count + 2 if count >= 0 else 0
            elif count > most:
                return "the RESP2 body claims more elements than it can hold"
            else:
                missing.append(count * (2 if kind in b"%|" else 1))
        while missing and missing[-1] <= 0:
            missing.pop()
        if len(missing) > _MAX_DEPTH:
            return "the RESP2 body is nested too deeply"
    return None
