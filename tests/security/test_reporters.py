"""What error reporters show of a failure: rich, structlog and Sentry, each as it comes. The token is in none of it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import rich.console
import rich.pretty
import rich.traceback
import sentry_sdk
import sentry_sdk.serializer
import structlog
from langchain_core.messages import HumanMessage
from sentry_sdk.envelope import Envelope
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.transport import Transport

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.rest.endpoint import Endpoint, resolve_endpoint
from chatstash.rest.secret import Secret
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]

# Put together, for reporters show source lines as well. As long as Upstash's: what is long is cut up by some.
TOKEN = "-".join(f"{number:07x}" for number in range(1_000_003, 1_000_019))


def _pieces() -> list[str]:
    """Return what no report may hold: pieces of the token that stand for nothing else."""
    return [TOKEN[start : start + 12] for start in range(0, len(TOKEN) - 12, 4)]


def _hides(report: str) -> bool:
    return bool(report) and not any(piece in report for piece in _pieces())


def _by_rich(error: BaseException) -> str:
    shown = rich.traceback.Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=40, locals_max_length=100
    )
    console = rich.console.Console(file=io.StringIO(), width=400)
    console.print(shown)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def _by_structlog(error: BaseException) -> str:
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=True, locals_max_string=40)
    return json.dumps(transform((type(error), error, error.__traceback__)), default=repr)


class _Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.reports: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.reports += [str(item.get_bytes()) for item in envelope.items]


def _by_sentry(error: BaseException) -> str:
    kept = _Kept()
    client = sentry_sdk.Client(
        dsn="http://public@127.0.0.1:9/1", transport=kept, default_integrations=False, event_scrubber=EventScrubber([]),
        include_local_variables=True, max_value_length=10_000,
    )  # fmt: skip
    with sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        sentry_sdk.capture_exception(error)
    return "".join(kept.reports)


REPORTERS = {"rich": _by_rich, "structlog": _by_structlog, "sentry": _by_sentry}


def _without_this_test(error: BaseException) -> BaseException:
    """Return an error without the frames of this file, which hold what they gave."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def _caught(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return _without_this_test(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("reporter", REPORTERS)
def test_each_shows_what_a_frame_holds(reporter: str) -> None:
    def leaks() -> None:
        token = TOKEN
        raise ValueError(len(token))

    try:
        leaks()
    except ValueError as error:
        assert not _hides(REPORTERS[reporter](error))


@pytest.mark.parametrize("reporter", REPORTERS)
@pytest.mark.parametrize("wrong", [{"url": "https://u:{}@h"}, {"token": "{} x"}, {"token": "'{}'"}, {"ttl": 0}])
def test_wrong_arguments(reporter: str, wrong: dict[str, Any]) -> None:
    given = {"url": "https://h.example", "token": TOKEN, **wrong}
    given = {name: value.format(TOKEN) if isinstance(value, str) else value for name, value in given.items()}
    for make in (lambda: Store(**given), lambda: UpstashRedisChatMessageHistory("s", **given)):
        assert _hides(REPORTERS[reporter](_caught(make)))


def _echo(exchange: Exchange) -> None:
    body = b'{"error": "ERR %b", "more": ["%b"]}' % (TOKEN.encode(), TOKEN.encode())
    exchange.reply(body, "502 Bad Gateway", headers=f"x-echo: Bearer {TOKEN}\r\nretry-after: {TOKEN}\r\n")


FAULTS: dict[str, Callable[[Exchange], None]] = {
    "an echo in JSON": _echo,
    "an echo in RESP2": lambda e: e.reply(f"${TOKEN}\r\n".encode(), content_type="application/octet-stream"),
    "a length that is the token": lambda e: e.reply(
        b"*1234567\r\n$" + TOKEN.encode() + b"\r\n", content_type="application/octet-stream"
    ),
    "a wrong kind": lambda e: e.reply(json.dumps({"result": {TOKEN: TOKEN}}).encode()),
    "no HTTP": lambda e: e.send(f"{TOKEN}\r\n".encode()),
    "half a reply": lambda e: (e.send(b"HTTP/1.1 200 OK\r\n" + TOKEN.encode()), e.hang_up())[1],  # type: ignore[func-returns-value]
    "silence": lambda e: e.wait(5),
}


def _check_hidden(act: Callable[[], Any]) -> None:
    error = _caught(act)
    assert [name for name, show in REPORTERS.items() if not _hides(show(error))] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_and_echoes(faulty: Start, either: Call, fault: str) -> None:
    timeout = 0.2 if fault == "silence" else 60
    history = UpstashRedisChatMessageHistory("s", faulty(FAULTS[fault]).url, TOKEN, timeout=timeout, retries=0)
    _check_hidden(partial(either, history, "add_messages", [HumanMessage("x")]))


def test_a_task_that_is_cancelled(faulty: Start) -> None:
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        arrived.set()
        exchange.wait(60)

    history = UpstashRedisChatMessageHistory("s", faulty(hang).url, TOKEN)

    async def use() -> None:
        adding = asyncio.create_task(history.aadd_messages([HumanMessage("x" * 3_000_000)]))
        await asyncio.to_thread(arrived.wait, 60)
        adding.cancel()
        await adding

    _check_hidden(lambda: asyncio.run(use()))


def test_a_proxy_with_a_password(monkeypatch: pytest.MonkeyPatch, either: Call) -> None:
    for proxy in (f"http://ada:{TOKEN}@127.0.0.1:1", f"socks5://ada:{TOKEN}@127.0.0.1:1", f"http://a:{TOKEN}@h:x"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        history = UpstashRedisChatMessageHistory("s", "https://h.example", TOKEN, retries=0)
        _check_hidden(partial(either, history, "messages"))


def test_what_frames_of_a_request_under_way_hold(faulty: Start) -> None:
    """As a reporter that shows the stacks of all threads would find them."""
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        arrived.set()
        exchange.wait(60)
        exchange.hang_up()

    server = faulty(hang)
    history = UpstashRedisChatMessageHistory("s", server.url, TOKEN, timeout=60, retries=0)
    thread = threading.Thread(target=_caught, args=(history.clear,))
    thread.start()
    arrived.wait(60)
    frame = sys._current_frames()[thread.ident or 0]
    ours = 0
    while frame is not None:
        if "chatstash" in frame.f_globals.get("__name__", ""):
            ours += 1
            shown = sentry_sdk.serializer.serialize(dict(frame.f_locals))
            assert _hides(f"{rich.pretty.pretty_repr(dict(frame.f_locals), max_string=40)} {shown}")
        frame = frame.f_back  # type: ignore[assignment]
    assert ours > 3
    server.closing.set()
    thread.join()


def test_a_secret_is_no_string() -> None:
    secret = Endpoint("https://h", TOKEN).token
    assert isinstance(secret, Secret)
    assert secret.get_secret_value() == TOKEN
    assert secret == Secret(TOKEN) != Secret("other")
    for act in (
        lambda: secret[:8],  # type: ignore[index]
        lambda: secret[0],  # type: ignore[index]
        lambda: list(secret),  # type: ignore[call-overload]
        lambda: "".join([secret]),  # type: ignore[list-item]
        lambda: secret + "",  # type: ignore[operator]
        lambda: json.dumps(secret),
        lambda: len(secret),  # type: ignore[arg-type]
        lambda: os.fspath(secret),  # type: ignore[call-overload]
        lambda: bytes(secret),  # type: ignore[call-overload]
    ):
        with pytest.raises(TypeError):
            act()
    assert _hides(f"{secret} {secret!r} {[secret]} {Endpoint('https://h', TOKEN)} {socket.AF_INET}")


@pytest.mark.parametrize("reporter", REPORTERS)
def test_from_the_environment(monkeypatch: pytest.MonkeyPatch, reporter: str) -> None:
    monkeypatch.setenv("UPSTASH_REDIS_REST_URL", "https://h.example")
    for wrong in (f'"{TOKEN}"', f"{TOKEN} x"):
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", wrong)
        assert _hides(REPORTERS[reporter](_caught(resolve_endpoint)))
