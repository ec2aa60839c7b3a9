"""Redirects are not followed, so that the token goes to no other host."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain_core.messages import HumanMessage

from chatstash import ProtocolError, UpstashRedisChatMessageHistory
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]

STATUSES = [
    "300 Multiple Choices", "301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect",
    "308 Permanent Redirect",
]  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", ["messages", "add_messages", "clear"])
@pytest.mark.parametrize("header", ["location", "refresh"])
def test_to_another_host(faulty: Start, call: Call, status: str, name: str, header: str) -> None:
    other = faulty(lambda exchange: exchange.reply(b'{"result": []}'))
    place = other.url if header == "location" else f"0; url={other.url}"
    server = faulty(lambda exchange: exchange.reply(b'{"result": 1}', status, headers=f"{header}: {place}/\r\n"))
    history = UpstashRedisChatMessageHistory("s", server.url, "secret-token")
    with pytest.raises(ProtocolError, match="redirects") as caught:
        call(history, name, *([[HumanMessage("x")]] if name == "add_messages" else []))
    assert caught.value.applied.name == "NO"
    assert (other.connections, len(server.requests)) == (0, 1)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("place", ["/elsewhere", "", "//127.0.0.1:1/", "https://127.0.0.1:1/", "file:///etc/passwd"])
def test_to_the_same_host_and_to_odd_places(faulty: Start, call: Call, status: str, place: str) -> None:
    def redirect(exchange: Exchange) -> None:
        exchange.reply(b"", status, headers=f"location: {place}\r\n")

    server = faulty(redirect)
    with pytest.raises(ProtocolError, match="redirects"):
        call(UpstashRedisChatMessageHistory("s", server.url, "secret-token"), "messages")
    assert len(server.requests) == 1


def test_cookies_are_not_kept(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.reply(b'{"result": []}', headers="set-cookie: a=b; path=/\r\n"))
    history = UpstashRedisChatMessageHistory("s", server.url, "secret-token")
    for _ in range(2):
        call(history, "messages")
    assert [b"cookie" in request.lower() for request in server.requests] == [False, False]
