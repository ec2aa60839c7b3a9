"""Retries fit the time given: an outage shorter than most of it costs no more than a late success."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from chatstash import (
    Applied,
    Budget,
    ConnectionFailed,
    DatabaseError,
    OutcomeUnknown,
    ProtocolError,
    RetryPolicy,
    ServerError,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import LocalUpstash
from chatstash.local.faults import FaultKind
from chatstash.rest.commands import Effect
from chatstash.rest.deadline import Deadline
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer, read_request
from tests.security.certificates import serving_tls, write_certificate

Start = Callable[..., FaultyServer]
ONE = [HumanMessage("x")]


def _history(url: str, token: str = "t", **options: object) -> UpstashRedisChatMessageHistory:
    quick = Budget(**{"first_pause": 0.001, "longest_pause": 0.002, **options})  # type: ignore[arg-type]
    return UpstashRedisChatMessageHistory("s", url, token, retry_policy=RetryPolicy(quick, quick, quick))


@pytest.mark.parametrize("fault", ["unavailable", "reset"])
def test_a_long_outage_costs_a_late_success(upstash: LocalUpstash, call: Call, fault: FaultKind) -> None:
    history = _history(upstash.url, upstash.token)
    upstash.faults.add(fault, times=25)
    call(history, "add_messages", ONE)
    assert upstash.stats.faults == 25
    upstash.faults.add(fault, times=25)
    assert call(history, "messages") == ONE
    upstash.faults.add(fault, times=25)
    call(history, "clear")
    assert upstash.stats.faults == 75
    assert history.messages == []


def test_a_database_that_starts_late(call: Call) -> None:
    pauses = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

        def jitter() -> float:
            pauses.append(1.0)
            if len(pauses) == 20:
                listener.listen()
                threading.Thread(target=answer, daemon=True).start()
            return 1.0

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                read_request(client)
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n" + b'{"result": 1}')

        call(_history(f"http://127.0.0.1:{listener.getsockname()[1]}", jitter=jitter), "add_messages", ONE)
    assert len(pauses) == 20


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_retries_is_a_cap(faulty: Start, call: Call, retries: int) -> None:
    server = faulty(lambda exchange: exchange.reply(b"{}", "503 Service Unavailable"))
    with pytest.raises(ServerError):
        call(_history(server.url, retries=retries), "read")
    assert len(server.requests) == 1 + retries


def test_an_outage_longer_than_the_time_is_told_in_time(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.reply(b"{}", "503 Service Unavailable"))
    with pytest.raises(OutcomeUnknown):
        call(_history(server.url, timeout=1.0), "add_messages", ONE)
    assert len(server.requests) > 1


@pytest.mark.parametrize(
    "reply", [lambda e: e.send(b"220 smtp ESMTP\r\n"), lambda e: e.reply(b"<h1>log in</h1>", content_type="text/html")]
)
def test_what_lasts_is_tried_four_times(faulty: Start, call: Call, reply: Callable[[Exchange], None]) -> None:
    server = faulty(reply)
    with pytest.raises((ConnectionFailed, ProtocolError)):
        call(_history(server.url), "read")
    assert len(server.requests) == 4


def test_pauses_grow_to_a_bound() -> None:
    budget = Budget(jitter=lambda: 1.0)
    pauses = [budget.pause_after(attempt, ConnectionFailed("x"), Effect.READ) for attempt in range(50)]
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0]
    assert set(pauses[6:]) == {3.0}


def test_a_retry_begins_within_four_fifths_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deadline = Deadline(30)
    assert deadline.allows_retry(23.9)
    assert not deadline.allows_retry(24.1)
    deadline.start_attempt(is_last=False)
    assert deadline.silence_limit() == 15
    deadline.start_attempt(is_last=True)
    assert deadline.silence_limit() == 30
    now += 20
    deadline.start_attempt(is_last=False)
    assert deadline.silence_limit() == 10, "no retry could follow, so it may use all of the time"


def _fails(call: Call, url: str) -> DatabaseError:
    with pytest.raises(ConnectionFailed) as caught:
        call(_history(url), "clear")
    assert caught.value.applied is Applied.NO
    return caught.value


def test_the_error_names_host_and_cause(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}: .*refused"):
            call(_history(f"http://127.0.0.1:{port}", retries=0), "clear")
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:secret-password@127.0.0.1:{port}")
        host = f"{call.__name__[5:]}.example"
        with pytest.raises(ConnectionFailed, match=f"{host}:443 through the proxy 127.0.0.1:{port}: .*refused"):
            call(_history(f"https://{host}", retries=0), "clear")
    monkeypatch.delenv("HTTPS_PROXY")
    looked_up = []

    def unknown(*args: object, **_: object) -> None:
        looked_up.append(args)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "a connection to nowhere.localhost:443: the host name could not be resolved (Name or" in str(
        _fails(call, "https://nowhere.localhost")
    )
    assert len(looked_up) == 4
    with serving_tls(write_certificate(tmp_path / "tls.pem")) as server:
        port = server.listener.getsockname()[1]
        error = _fails(call, server.url)
        assert f"a connection to 127.0.0.1:{port}: its certificate is not accepted (self" in str(error)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


def test_a_connection_that_breaks_is_named_too(faulty: Start, call: Call) -> None:
    server = faulty(lambda exchange: exchange.hang_up())
    port = server.listener.getsockname()[1]
    with pytest.raises(OutcomeUnknown, match=f"127.0.0.1:{port} broke before the reply was complete"):
        call(_history(server.url, retries=0), "add_messages", ONE)
