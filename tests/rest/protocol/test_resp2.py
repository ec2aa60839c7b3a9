"""RESP2 bodies: what they hold, and that no body makes the parser take more memory than its bytes."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstash.errors import ProtocolError, WrongType
from tests.rest.protocol.replying import GET, RESP2, TWO, read, reply


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"$3\r\nbar\r\n", b"bar"),
        (b"$-1\r\n", None),
        (b":7\r\n", 7),
        (b"+OK\r\n", b"OK"),
        (b"*0\r\n", []),
        (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", [b"a", [1]]),
    ],
)
def test_one_reply(body: bytes, value: object) -> None:
    assert read(GET, reply(body, RESP2)) == (value,)


def test_several_replies_one_after_the_other_or_in_an_array() -> None:
    for body in (b"$1\r\na\r\n:1\r\n", b"*2\r\n$1\r\na\r\n:1\r\n"):
        assert read(TWO, reply(body, RESP2)) == (b"a", 1)
    value, failure = read(TWO, reply(b"$1\r\na\r\n-WRONGTYPE no\r\n", RESP2))
    assert value == b"a"
    assert isinstance(failure, WrongType)


_VALUES = st.recursive(
    st.none() | st.binary(max_size=10) | st.integers(-(2**63), 2**63 - 1),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(_VALUES)
def test_round_trip(value: Any) -> None:
    assert read(GET, reply(_encoded(value), RESP2)) == (value,)


def _encoded(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(_encoded, value))
    return bytes(hiredis.pack_command((value,))).split(b"\r\n", 1)[1]


@pytest.mark.parametrize("kind", [b"*", b"~", b">", b"%", b"|"])
@pytest.mark.parametrize("count", [b"1", b"9999999"])
def test_text_that_looks_like_structure_is_text(kind: bytes, count: bytes) -> None:
    texts = [b"before", (b"\r\n" + kind + count) * 40 + b"\r\n", b"", b"after"]
    assert read(GET, reply(_encoded(texts), RESP2)) == (texts,)


def _nested(depth: int, before: bytes = b"") -> bytes:
    elements = 1 + bool(before)
    return (b"*%d\r\n" % elements + before) * depth + b":1\r\n"


@pytest.mark.parametrize("before", [b"", b":7\r\n", b"$2\r\n\r\n\r\n", b"*0\r\n", b"*-1\r\n", b"$-1\r\n"])
def test_nesting_is_bounded(before: bytes) -> None:
    assert len(read(GET, reply(_nested(8, before), RESP2))) == 1
    for depth in (40, 5000):
        with pytest.raises(ProtocolError, match="nested too deeply"):
            read(GET, reply(_nested(depth, before), RESP2))


def test_many_arrays_side_by_side_are_not_nested() -> None:
    body = b"*1000\r\n" + b"*1\r\n:1\r\n" * 1000
    assert read(GET, reply(body, RESP2)) == ([[1]] * 1000,)


def test_an_invalid_length_is_not_quoted() -> None:
    with pytest.raises(ProtocolError) as caught:
        read(GET, reply(b"*1234567\r\n$abc\r\n", RESP2))
    assert "abc" not in caught.value.problem
