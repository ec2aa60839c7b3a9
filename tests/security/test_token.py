"""The token shows nowhere: not in what is printed, raised, logged, warned of, copied or pickled."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gc
import http.client
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from urllib.parse import quote

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, ConfigDict

from chatstash import DatabaseError, Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from chatstash.rest.commands import Batch
from chatstash.rest.database import Database
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.http.connection import Connection
from chatstash.rest.http.exchange import HttpReply
from chatstash.rest.http.idle import IdleConnections
from chatstash.rest.http.replies import ReplyReader
from chatstash.rest.http.route import Route
from chatstash.rest.protocol import replies_from, request_for
from tests.conftest import Call, call_async
from tests.faulty import Exchange, FaultyServer, serve_faulty

Start = Callable[..., FaultyServer]

# Put together, for a traceback shows source lines as well.
PIECES = ["AYQw", "ASQg", "NzJi", "OWE3", "/+x"]


def _token() -> str:
    return "".join(PIECES)


def _forms() -> list[str]:
    token = _token()
    padded = [base64.b64encode(b" " * shift + token.encode())[4:-4].decode() for shift in range(3)]
    return [token, quote(token, safe=""), token.encode().hex(), *padded]


def _is_hidden(shown: str | bytes) -> bool:
    text = shown.decode("latin-1") if isinstance(shown, bytes) else shown
    return not any(form in text for form in _forms())


def _everything(error: BaseException) -> str:
    """Return all that a traceback can show: each frame's locals, of the error and of all it came from."""
    shown: list[str] = []
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        # With locals as they are, and as others show them that look into them.
        whole = traceback.TracebackException.from_exception(one, capture_locals=True, lookup_lines=False, compact=False)
        shown += [*whole.format(), repr(one), str(one), repr(one.args), repr(vars(one))]
        waiting += [linked for linked in (one.__cause__, one.__context__) if linked is not None]
    return "\n".join(shown)


def _history(url: str, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("s", url, _token(), **options)


def test_the_search_finds_what_is_there() -> None:
    def raises(argument: str) -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x") as caught:
        raises(_token())
    assert not _is_hidden(_everything(caught.value))
    assert not _is_hidden(base64.b64encode(f"user:{_token()}".encode()))


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    history: UpstashRedisChatMessageHistory
    store: Store


def test_printed_and_dumped(upstash: LocalUpstash) -> None:
    history, store = _history(upstash.url), Store(upstash.url, _token())
    endpoint, session = store.endpoint, store.session("s")
    held = Holder(history=history, store=store)
    things = [history, store, session, endpoint, store._database, endpoint.token, held, Batch((("GET", "k"),))]
    for thing in things:
        inside = getattr(thing, "__dict__", {})
        assert _is_hidden(f"{thing!r} {inside!r}")
        assert thing is history or thing is endpoint.token or _is_hidden(f"{thing} {thing:}")
    assert _is_hidden(repr(held.model_dump()))
    with contextlib.suppress(ValueError):
        assert _is_hidden(held.model_dump_json())
    assert endpoint.token.get_secret_value() == _token()


@pytest.fixture(scope="module")
def local() -> Iterator[LocalUpstash]:
    """A server that takes the token."""
    with LocalUpstash(token=_token()) as upstash:
        yield upstash


@pytest.mark.parametrize("make", ["history", "shared history", "store", "session", "endpoint", "database", "token"])
@pytest.mark.parametrize("used", [False, True])
def test_pickled_and_copied(local: LocalUpstash, make: str, used: bool) -> None:
    with Store(local.url, _token()) as store:
        histories = {"history": _history(local.url), "shared history": UpstashRedisChatMessageHistory("s", store=store)}
        thing: Any = {
            **histories,
            "store": store,
            "session": store.session("s"),
            "endpoint": store.endpoint,
            "database": store._database,
            "token": store.endpoint.token,
        }[make]
        if used:
            for history in histories.values():
                assert history.messages == []
                assert call_async(history, "messages") == []
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for pickled in (thing, [thing], {"thing": thing}):
                _check_pickling(pickled, protocol)
        with contextlib.suppress(TypeError):
            assert _is_hidden(repr(vars(copy.deepcopy(thing))))
            assert _is_hidden(repr(vars(copy.copy(thing))))


def _check_pickling(thing: Any, protocol: int) -> None:
    written = io.BytesIO()
    try:
        pickle.dump(thing, written, protocol)
    except Exception as error:
        assert _is_hidden(_everything(error))
    # What was written before it failed counts too.
    assert _is_hidden(written.getvalue())


WRONG: list[dict[str, Any]] = [
    {"ttl": 0},
    {"key_prefix": 7},
    {"timeout": -1},
    {"retries": -1},
    {"url": "redis://default:{}@h:6379"},
    {"url": "https://default:{}@h"},
    {"url": "https://h/?_token={}"},
    {"url": "https://[{}"},
    {"url": "https://h:{}"},
    {"token": "{} x"},
    {"token": "{}\u00e9"},
]


def _made_wrongly(make: Callable[..., object], wrong: dict[str, Any]) -> str:
    arguments = {"url": "https://h.example", "token": "{}", **wrong}
    given = {name: value.format(_token()) if isinstance(value, str) else value for name, value in arguments.items()}
    with pytest.raises(ValueError) as caught:
        make(**given)
    error = caught.value
    # This test's own frame holds what it gave.
    assert error.__traceback__ is not None
    error.with_traceback(error.__traceback__.tb_next)
    return _everything(error)


@pytest.mark.parametrize("wrong", [*WRONG, {"session_id": ""}], ids=repr)
def test_arguments_that_a_history_refuses(wrong: dict[str, Any]) -> None:
    assert _is_hidden(_made_wrongly(UpstashRedisChatMessageHistory, {"session_id": "s", **wrong}))


@pytest.mark.parametrize("wrong", WRONG[4:], ids=repr)
def test_arguments_that_an_endpoint_refuses(wrong: dict[str, Any]) -> None:
    assert _is_hidden(_made_wrongly(Endpoint, wrong))


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_arguments_that_a_store_refuses(wrong: dict[str, Any]) -> None:
    assert _is_hidden(_made_wrongly(Store, wrong))


def test_a_store_and_a_token_together(upstash: LocalUpstash) -> None:
    store = Store(upstash.url, upstash.token)
    assert _is_hidden(_made_wrongly(UpstashRedisChatMessageHistory, {"session_id": "s", "store": store}))


def _echo(exchange: Exchange, status: str, content_type: str, form: Callable[[str], str]) -> None:
    said = form(_token())
    exchange.reply(said.encode(), status, content_type, f"x-echo: {_token()}\r\nlocation: /{_token()}\r\n")


ECHOES = {
    "error": '{{"error": "ERR no {} here"}}'.format,
    "escaped": lambda token: '{{"error": 7, "x": "{}"}}'.format(token.replace("/", "\\/")),
    "result": '{{"result": "{}"}}'.format,
    "base64": lambda token: f"<p>Basic {base64.b64encode(token.encode()).decode()}</p>",
    "url": lambda token: f"<a href='/login?token={quote(token, safe='')}'>",
    "html": lambda token: f"<pre>authorization: Bearer {token}</pre>",
    "resp2": lambda token: f"-ERR {token}\r\n",
    "bad resp2": lambda token: f"*2\r\n-ERR {token}\r\n?{token}\r\n",
}


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "502 Bad Gateway"])
@pytest.mark.parametrize("echo", ECHOES)
def test_a_server_that_repeats_it(faulty: Start, either: Call, status: str, echo: str) -> None:
    kind = "application/octet-stream" if "resp2" in echo else "application/json"
    history = _history(faulty(lambda e: _echo(e, status, kind, ECHOES[echo])).url, retries=0)
    for name, arguments in (("messages", ()), ("add_messages", ([HumanMessage("x")],))):
        try:
            either(history, name, *arguments)
        except DatabaseError as error:
            # A result of that text, in a reply that is all right, is data and no echo.
            assert (echo, status) == ("result", "200 OK") or _is_hidden(_everything(error))


def test_a_reply_that_holds_it_shows_nothing_of_it() -> None:
    batch = Batch((("GET", "k"),))
    reply = HttpReply(400, {"content-type": "application/json", "x": _token()}, b'{"result": "%s"}' % _token().encode())
    assert _is_hidden(repr(reply))
    with pytest.raises(DatabaseError) as caught:
        replies_from(batch, request_for(batch), reply, token=Endpoint("https://h", _token()).token)
    assert _is_hidden(_everything(caught.value))


GARBAGE = {
    "an echo server": lambda e: e.send(e.request),
    "a bad status line": lambda e: e.send(b"ERR %s\r\n\r\n" % _token().encode()),
    "a bad header": lambda e: e.send(b"HTTP/1.1 200 OK\r\n\x01bad %s\r\n\r\n" % _token().encode()),
    "a bad length": lambda e: e.send(b"HTTP/1.1 200 OK\r\ncontent-length: %s\r\n\r\n" % _token().encode()),
    "a bad chunk": lambda e: e.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%s\r\n" % _token().encode()),
    "a bad encoding": lambda e: e.reply(_token().encode(), headers="content-encoding: gzip\r\n"),
    "silence": lambda e: e.wait(5),
    "an end": lambda e: e.hang_up(),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_server_that_does_not_speak_http(
    faulty: Start, either: Call, garbage: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def misbehave(exchange: Exchange) -> None:
        GARBAGE[garbage](exchange)
        if garbage != "silence":
            exchange.hang_up()

    history = _history(faulty(misbehave).url, retries=1, timeout=0.5 if garbage == "silence" else 60)
    for name in ("clear", "messages"):
        try:
            either(history, name)
        except Exception as error:
            assert isinstance(error, (DatabaseError, ValueError))
            assert _is_hidden(_everything(error))
    assert _is_hidden(caplog.text)


@contextlib.contextmanager
def _interrupting(wait: threading.Event) -> Iterator[None]:
    """Raise in the main thread, by a signal, once `wait` is set: as Ctrl-C or a soft time limit would."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.get_ident()
    helper = threading.Thread(target=lambda: wait.wait(60) and signal.pthread_kill(main, signal.SIGUSR1))
    helper.start()
    try:
        yield
    finally:
        helper.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("body", ["", "x" * 3_000_000])
def test_interrupted(faulty: Start, call: Call, body: str) -> None:
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        arrived.set()
        exchange.wait(60)

    history = _history(faulty(hang).url)
    with pytest.raises(KeyboardInterrupt) as caught, _interrupting(arrived):
        call(history, "add_messages", [HumanMessage(body)])
    assert _is_hidden(_everything(caught.value))
    assert "exchange" in "".join(traceback.format_tb(caught.tb)) or call is call_async


def test_interrupted_at_any_step(monkeypatch: pytest.MonkeyPatch, faulty: Start) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    history = _history(faulty(lambda e: e.reply(b'{"result": 1}')).url)
    for owner, name in (
        (Route, "head"),
        (Connection, "begin"),
        (Connection, "output"),
        (Connection, "note_sent"),
        (Connection, "receive"),
        (ReplyReader, "feed"),
        (IdleConnections, "put"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupt)
            with pytest.raises(KeyboardInterrupt) as caught:
                history.clear()
        assert _is_hidden(_everything(caught.value)), name


@pytest.mark.parametrize("how", ["cancel", "timeout"])
@pytest.mark.parametrize("debug", [False, True])
def test_cancelled(faulty: Start, how: str, debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    arrived = threading.Event()

    def hang(exchange: Exchange) -> None:
        arrived.set()
        exchange.wait(60)

    history = _history(faulty(hang).url)

    async def read(limit: asyncio.Timeout) -> None:
        async with limit:
            await history.aget_messages()

    async def use() -> None:
        loop, limit = asyncio.get_running_loop(), asyncio.timeout(None)
        loop.slow_callback_duration = 0
        task = asyncio.create_task(read(limit) if how == "timeout" else history.aclear())
        await asyncio.to_thread(arrived.wait, 60)
        if how == "timeout":
            limit.reschedule(loop.time())
        else:
            task.cancel()
        await task

    with pytest.raises((asyncio.CancelledError, TimeoutError)) as caught:
        asyncio.run(use(), debug=debug)
    assert _is_hidden(_everything(caught.value))
    assert _is_hidden(caplog.text)


@pytest.mark.parametrize("debug", [False, True])
def test_logs_and_warnings_at_their_loudest(
    call: Call, debug: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1" if debug else "")
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "chatstash", "chatstash.local"):
        caplog.set_level(logging.DEBUG, name)
    with warnings.catch_warnings(record=True) as warned, LocalUpstash(token=_token()) as local:
        warnings.simplefilter("always")
        history = _history(local.url, ttl=60)
        call(history, "add_messages", [HumanMessage("x"), HumanMessage("x" * 2_000_000)])
        assert len(call(history, "messages")) == 2
        with pytest.raises(DatabaseError):
            call(_history(local.url.replace("127.0.0.1", "127.0.0.1:1/")[:20], retries=0), "messages")
        del history
        gc.collect()
    assert _is_hidden(caplog.text)
    assert _is_hidden("".join(str(warning.message) for warning in warned))
    assert _is_hidden("".join(capfd.readouterr()))


def test_the_warning_of_plain_http() -> None:
    with pytest.warns(UserWarning, match="unencrypted") as warned:
        Database(Endpoint("http://elsewhere.example", _token()))
    assert _is_hidden("".join(str(warning.message) for warning in warned))


DEV_MODE = """
import asyncio, faulthandler, os, sys, threading, time
from chatstash import UpstashRedisChatMessageHistory

history = UpstashRedisChatMessageHistory("s", timeout=20)

async def leave():
    task = asyncio.create_task(history.aget_messages())
    await asyncio.sleep(0.3)
    faulthandler.dump_traceback()
    raise RuntimeError("left")

threading.Thread(target=history.clear, daemon=True).start()
time.sleep(0.3)
try:
    asyncio.run(leave())
except RuntimeError:
    sys.excepthook(*sys.exc_info())
loop = asyncio.new_event_loop()
pending = loop.create_task(history.aget_messages())
loop.run_until_complete(asyncio.sleep(0.3))
loop.close()
del pending
raise SystemExit(history._store.nothing)
"""


def test_the_interpreters_own_words() -> None:
    """`-X dev`, faulthandler, unclosed sessions, tasks never awaited: with the token from the environment."""
    with serve_faulty() as start:
        url = start(lambda exchange: exchange.wait(20)).url
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", DEV_MODE],
            env={**os.environ, "UPSTASH_REDIS_REST_URL": url, "UPSTASH_REDIS_REST_TOKEN": _token(), "NO_PROXY": "*"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert "left" in done.stderr
    assert "most recent call first" in done.stderr
    assert "AttributeError" in done.stderr
    assert _is_hidden(done.stdout + done.stderr)
