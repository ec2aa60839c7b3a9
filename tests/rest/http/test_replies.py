"""Reading one reply: the same however its bytes are cut, bounded, and never another exception."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstash.rest.http import replies
from chatstash.rest.http.exchange import HttpFault
from chatstash.rest.http.replies import ReplyReader

GOOD = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nt: v\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\n\r\nhello",
]
STRAY = [b"", b"\r\n", b" ", b"\x00", b"H", b"0\r\n\r\n", b"content-length: 5\r\n", b"HTTP/1.1 200 OK\r\n\r\n", GOOD[0]]


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A reply, another perhaps behind it, with bytes taken out, put in or exchanged."""
    data = draw(st.sampled_from(GOOD)) + draw(st.sampled_from(STRAY))
    for _ in range(draw(st.integers(0, 3))):
        at, until = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        data = data[:at] + draw(st.sampled_from(STRAY) | st.binary(max_size=4)) + data[min(until, at + 8) :]
    return data


def _outcome(pieces: list[bytes]) -> object:
    """Return what a reader makes of these bytes and the end of the connection; all refusals are alike."""
    reader = ReplyReader()
    try:
        for number, piece in enumerate(pieces):
            reader.feed(piece)
            if reader.done:
                return "refused" if any(pieces[number + 1 :]) else _read(reader)
        reader.feed(b"")
    except HttpFault:
        return "refused"
    return _read(reader)


def _read(reader: ReplyReader) -> object:
    return reader.reply.status, dict(reader.reply.headers), reader.reply.body, reader.reusable


@given(_damaged(), st.lists(st.integers(1, 40), max_size=30))
def test_it_reads_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    pieces, rest = [], data
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    cut_up = [piece for piece in (*pieces, rest) if piece]
    assert _outcome([data] if data else []) == _outcome(cut_up) == _outcome([bytes([byte]) for byte in data])


@pytest.mark.parametrize("data", GOOD)
def test_good_replies(data: bytes) -> None:
    status, _, body, reusable = _outcome([data])  # type: ignore[misc]
    assert (status in (200, 503), body) == (True, b"hello")
    assert reusable is (data in (GOOD[0], GOOD[1], GOOD[3]))


def test_a_body_is_bounded_while_it_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "MAX_BODY", 100_000)
    reader = ReplyReader()
    reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    with pytest.raises(HttpFault, match="over 100000 bytes"):
        for _ in range(20):
            reader.feed(b"2710\r\n" + b"x" * 10_000 + b"\r\n")


def test_a_reader_that_is_closed_leaves_nothing_to_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(50):
            reader = ReplyReader()
            reader.feed(GOOD[0])
            reader.close()
        del reader
        assert len(gc.get_objects()) - before < 25
    finally:
        gc.enable()
