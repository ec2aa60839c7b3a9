"""Redirects are not followed, so that the token goes to no other host; cookies are not kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain_core.messages import HumanMessage

from chatstash import ProtocolError, UpstashRedisChatMessageHistory
from tests.conftest import Call, call_sync
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]


@pytest.mark.parametrize(
    "status",
    ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
)
def test_to_another_host(faulty: Start, call: Call, status: str) -> None:
    other = faulty(lambda exchange: exchange.reply(b'{"result": []}'))
    server = faulty(lambda exchange: exchange.reply(b'{"result": 1}', status, headers=f"location: {other.url}/\r\n"))
    history = UpstashRedisChatMessageHistory("s", server.url, "secret-token")
    with pytest.raises(ProtocolError, match="redirects") as caught:
        call(history, "add_messages", [HumanMessage("x")])
    assert caught.value.applied.name == "NO"
    assert (other.connections, len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    "header",
    [
        "location: /elsewhere",
        "location: ",
        "location: //127.0.0.1:1/",
        "location: file:///etc/passwd",
        "refresh: 0; url=/",
    ],
)
def test_to_odd_places(faulty: Start, header: str) -> None:
    def redirect(exchange: Exchange) -> None:
        exchange.reply(b"", "302 Found", headers=f"{header}\r\n")

    server = faulty(redirect)
    with pytest.raises(ProtocolError, match="redirects"):
        call_sync(UpstashRedisChatMessageHistory("s", server.url, "secret-token"), "messages")
    assert len(server.requests) == 1


def test_cookies_are_not_kept(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.reply(b'{"result": []}', headers="set-cookie: a=b; path=/\r\n"))
    history = UpstashRedisChatMessageHistory("s", server.url, "secret-token")
    for _ in range(2):
        call(history, "messages")
    assert [b"cookie" in request.lower() for request in server.requests] == [False, False]
