"""Fixtures for tests of code that talks to Upstash: a local Upstash, emptied for each test.

pytest finds them once `chatstash[local]` is installed. The first test that uses one starts a server for its pytest
process; under pytest-xdist each worker has its own, so tests never share data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chatstash.local import LocalUpstash


@pytest.fixture(scope="session")
def upstash_options() -> dict[str, Any]:
    """The arguments for `LocalUpstash`. Override it in conftest.py."""
    return {}


@pytest.fixture(scope="session")
def upstash_server(upstash_options: dict[str, Any]) -> Iterator[LocalUpstash]:
    """The server of this pytest process, not reset between tests. Use `upstash` in tests."""
    try:
        from chatstash.local import LocalUpstash  # noqa: PLC0415 - most test runs do not use it
    except ImportError as error:
        pytest.fail(f"{error}: pip install 'chatstash[local]'", pytrace=False)
    with LocalUpstash(**upstash_options) as server:
        yield server


@pytest.fixture
def upstash(upstash_server: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalUpstash]:
    """A local Upstash without data or faults, with all counters at 0: `url`, `token`, `faults`, `stats`, `flush()`."""
    from chatstash.local.environment import without_proxy  # noqa: PLC0415 - as above

    for name, value in without_proxy(os.environ).items():
        monkeypatch.setenv(name, value)
    if not upstash_server.is_running:
        # A test stopped it, or its engine.
        upstash_server.stop()
        upstash_server.start()
    upstash_server.reset()
    _forget_scripts(upstash_server.url)
    yield upstash_server
    upstash_server.faults.clear()


def _forget_scripts(url: str) -> None:
    """Have clients send scripts whole again, so that a test counts the same requests alone and after others."""
    from chatstash.rest.digests import forget_scripts  # noqa: PLC0415 - as above

    forget_scripts(url)


@pytest.fixture
def upstash_environment(upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> LocalUpstash:
    """`upstash`, with the environment variables that clients read, and without any that lead to another database."""
    from chatstash.local.environment import all_names, reaching_others  # noqa: PLC0415 - as above

    for name in reaching_others(os.environ):
        monkeypatch.delenv(name)
    for name, value in all_names(upstash.environment).items():
        monkeypatch.setenv(name, value)
    return upstash
