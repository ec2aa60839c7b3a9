"""Reading a conversation in pages and listing keys, with no I/O: what is asked, and what is made of the replies."""

from __future__ import annotations

from typing import Any

import pytest

from chatstash.errors import CommandRejected, ProtocolError, RequestTooLarge
from chatstash.history import listing
from chatstash.rest.commands import Batch, Replies
from chatstash.rest.ops import Op


def read(conversation: list[bytes], *, most_bytes: int = 10**9, before_each: Any = None) -> tuple[list[bytes], int]:
    """Run `stored_records` against a list, newest first, with a limit of a reply; returns it and the requests made."""
    op, requests = listing.stored_records("k"), 0
    answer: Any = None
    try:
        batch = next(op)
        while True:
            requests += 1
            if before_each is not None:
                before_each(requests)
            answer = _lrange(conversation, batch)
            too_large = sum(map(len, answer)) > most_bytes
            batch = op.throw(RequestTooLarge("x")) if too_large else op.send(Replies((answer,)))
    except StopIteration as stop:
        return stop.value, requests


def _lrange(conversation: list[bytes], batch: Batch) -> list[bytes]:
    ((name, _, start, stop),) = batch.commands
    assert name == "LRANGE"
    assert isinstance(start, int)
    assert isinstance(stop, int)
    return conversation[max(0, len(conversation) + start) : max(0, len(conversation) + stop + 1)]


def numbered(count: int) -> list[bytes]:
    return [b"%06d" % number for number in range(count)]


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (999, 1), (1000, 2), (1999, 3), (2500, 3)])
def test_pages(count: int, requests: int) -> None:
    assert read(numbered(count)[::-1]) == (numbered(count), requests)


@pytest.mark.parametrize("most_bytes", [6, 11, 12, 17, 18, 100, 6000])
def test_pages_grow_smaller_where_a_reply_would_be_too_large(most_bytes: int) -> None:
    assert read(numbered(50)[::-1], most_bytes=most_bytes)[0] == numbered(50)


def test_a_record_that_is_too_large_alone() -> None:
    with pytest.raises(RequestTooLarge):
        read(numbered(3), most_bytes=5)


@pytest.mark.parametrize("most_bytes", [12, 10**9])
def test_records_appended_meanwhile_move_nothing(most_bytes: int) -> None:
    conversation = numbered(1500)[::-1]
    stored, _ = read(conversation, most_bytes=6000, before_each=lambda _: conversation.insert(0, b"append"))
    assert stored[:1500] == numbered(1500)
    assert set(stored[1500:]) <= {b"append"}


@pytest.mark.parametrize("most_bytes", [6, 6000, 10**9])
def test_records_taken_out_meanwhile_are_noticed(most_bytes: int) -> None:
    conversation = numbered(1500)[::-1]

    def take_out(request: int) -> None:
        if request == 20 or (most_bytes == 10**9 and request == 2):
            del conversation[-1]

    stored, _ = read(conversation, most_bytes=most_bytes, before_each=take_out)
    assert stored == conversation[::-1]


def test_a_conversation_that_never_rests() -> None:
    conversation = numbered(5000)[::-1]
    with pytest.raises(CommandRejected, match="changed"):
        read(conversation, before_each=lambda _: conversation.pop())


def answered(op: Op[Any], reply: Any) -> tuple[Any, Batch]:
    batch = next(op)
    with pytest.raises(StopIteration) as stop:
        op.send(Replies((reply,)))
    return stop.value.value, batch


def test_a_prefix_is_taken_literally() -> None:
    reply = [b"7", [b"a[*]?\\:1", b"other"]]
    (cursor, keys), batch = answered(listing.scan("a[*]?\\:"), reply)
    assert (cursor, keys) == ("7", [b"a[*]?\\:1"])
    assert batch.commands == (("SCAN", "0", "MATCH", "a\\[\\*\\]\\?\\\\:*", "COUNT", 1000, "TYPE", "list"),)


def test_companions_are_no_conversations() -> None:
    found, _ = answered(listing.scan(""), [b"0", [b"chatstash:quarantine:ab", b"x"]])
    assert found == ("0", [b"x"])


def test_a_reply_that_is_none() -> None:
    for reply in (None, 5, [b"0"], [b"0", b"x"]):
        with pytest.raises(ProtocolError):
            answered(listing.scan(""), reply)
