"""What all tests share: a local Upstash, and one way to call both colours of a method."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import signal
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from hypothesis import HealthCheck, settings

from chatstash.history import runner as history_runner
from chatstash.local import LocalUpstash
from tests.faulty import FaultyServer, serve_faulty

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]

# A busy machine is no failure; and what is searched for anew each time is searched for by hand, with --hypothesis-seed.
settings.register_profile(
    "chatstash", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("chatstash")

_numbers = itertools.count()


def command(server: LocalUpstash, *words: str | int) -> Any:
    """Run one command past the code under test; returns the decoded result."""
    reply = urllib3.request(
        "POST",
        server.url,
        json=list(words),
        headers={"authorization": f"Bearer {server.token}"},
        retries=False,
        timeout=60,
    )
    body = reply.json()
    assert "error" not in body, body
    return body["result"]


@pytest.fixture(autouse=True, scope="session")
def _programs_can_be_interrupted() -> None:
    """A shell has the programs in its background ignore Ctrl-C, which tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_list_was_seen() -> None:
    """A test does not begin with what another has seen of a conversation of the same name."""
    history_runner._recent.clear()


@pytest.fixture
def run(upstash: LocalUpstash) -> Callable[..., Any]:
    """Run one command past the code under test."""
    return lambda *words: command(upstash, *words)


Call = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a method of either colour: `call(history, "read")` runs `read()` or, in a loop of its own, `aread()`."""
    return call_sync if request.param == "sync" else call_async


@pytest.fixture
def either(request: pytest.FixtureRequest) -> Call:
    """Call a method of one colour, chosen by the test's name: for many inputs that take the same path in both."""
    return (call_sync, call_async)[zlib.crc32(request.node.name.encode()) % 2]


_new_loop: list[Callable[[], asyncio.AbstractEventLoop] | None] = [None]


@pytest.fixture(autouse=True)
def _event_loop(request: pytest.FixtureRequest) -> None:
    """Half of the tests, chosen by their names, call on uvloop; the others on asyncio's own loop."""
    uses_uvloop = uvloop is not None and zlib.crc32(request.node.name.encode()) % 4 > 1
    _new_loop[0] = uvloop.new_event_loop if uses_uvloop else None


_ASYNC_NAMES = {"messages": "aget_messages"}


def call_sync(target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    member = getattr(target, name)
    return member(*args, **kwargs) if callable(member) else member


def call_async(target: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    async def once() -> Any:
        result = getattr(target, _ASYNC_NAMES.get(name, f"a{name}"))(*args, **kwargs)
        assert inspect.isawaitable(result)
        return await result

    with asyncio.Runner(loop_factory=_new_loop[0]) as runner:
        return runner.run(once())


@pytest.fixture
def faulty() -> Iterator[Callable[..., FaultyServer]]:
    """Start servers that misbehave; they end with the test."""
    with serve_faulty() as start:
        yield start


@pytest.fixture
def session_id() -> str:
    return f"session-{next(_numbers)}"
