"""Listing keys, without I/O: the commands sent, and the result of each reply."""

from __future__ import annotations

from typing import Any

import pytest

from chatstash.errors import ProtocolError
from chatstash.history.operations import scan
from chatstash.rest.commands import Batch, Replies
from chatstash.rest.ops import Op


def answered(op: Op[Any], reply: Any) -> tuple[Any, Batch]:
    batch = next(op)
    with pytest.raises(StopIteration) as stop:
        op.send(Replies((reply,)))
    return stop.value.value, batch


def test_a_prefix_is_taken_literally() -> None:
    reply = [b"7", [b"a[*]?\\:1", b"other"]]
    (cursor, keys), batch = answered(scan.scan("a[*]?\\:"), reply)
    assert (cursor, keys) == ("7", [b"a[*]?\\:1"])
    assert batch.commands == (("SCAN", "0", "MATCH", "a\\[\\*\\]\\?\\\\:*", "COUNT", 1000),)


def test_companion_keys_are_left_out() -> None:
    found, _ = answered(scan.scan(""), [b"0", [b"chatstash:quarantine:ab", b"x"]])
    assert found == ("0", [b"x"])


def test_a_reply_that_is_not_a_cursor_and_keys_is_an_error() -> None:
    for reply in (None, 5, [b"0"], [b"0", b"x"]):
        with pytest.raises(ProtocolError):
            answered(scan.scan(""), reply)
