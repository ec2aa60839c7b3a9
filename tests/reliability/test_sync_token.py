"""Reading one's own writes where a replica lags, also from the next function instance, and nobody else's token."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer


@pytest.fixture(scope="module")
def lagging() -> Iterator[LocalUpstash]:
    with LocalUpstash(replica_lag=60.0) as upstash:
        yield upstash


def _history(upstash: LocalUpstash, session_id: str, store: Store | None = None) -> UpstashRedisChatMessageHistory:
    if store is not None:
        return UpstashRedisChatMessageHistory(session_id, store=store)
    return UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token)


def test_one_process_reads_its_own_writes(lagging: LocalUpstash, session_id: str, call: Call) -> None:
    history = _history(lagging, session_id)
    for number in range(3):
        history.add_user_message(str(number))
        assert len(call(history, "messages")) == number + 1


def test_the_next_instance_reads_them_with_the_token(lagging: LocalUpstash, session_id: str, call: Call) -> None:
    history = _history(lagging, session_id)
    history.add_user_message("x")
    token = history.sync_token
    assert token is not None
    with Store(lagging.url, lagging.token) as store:
        elsewhere = _history(lagging, session_id, store)
        assert elsewhere.sync_token is None
        assert elsewhere.messages == []
        elsewhere.sync_token = token
        assert len(elsewhere.messages) == 1
        elsewhere.sync_token = None
        assert elsewhere.sync_token is None


def test_a_process_of_its_own_reads_them_with_the_token(lagging: LocalUpstash, session_id: str) -> None:
    history = _history(lagging, session_id)
    history.add_user_message("x")
    code = (
        "import sys\nfrom chatstash import UpstashRedisChatMessageHistory\n"
        "history = UpstashRedisChatMessageHistory(sys.argv[1])\n"
        "if len(sys.argv) > 2: history.sync_token = sys.argv[2]\n"
        "print(len(history.messages))"
    )
    for arguments, found in (([], "0\n"), ([history.sync_token], "1\n")):
        done = subprocess.run(
            [sys.executable, "-c", code, session_id, *arguments],
            env={"PATH": "/usr/bin:/bin", **lagging.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == (found, 0), done.stderr


def test_a_token_goes_with_its_conversation_only(faulty: Callable[..., FaultyServer], call: Call) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.reply(b'{"result": []}')

    server = faulty(handler)
    for number in range(3):
        history = UpstashRedisChatMessageHistory(f"user-{number}", server.url, "t")
        if number == 1:
            history.sync_token = "of-user-1"
    for number in range(3):
        call(UpstashRedisChatMessageHistory(f"user-{number}", server.url, "t"), "messages")
    carried = [b"of-user-1" in request for request in server.requests]
    assert carried == [False, True, False]


def test_histories_of_one_conversation_share_it(lagging: LocalUpstash, session_id: str) -> None:
    _history(lagging, session_id).sync_token = "abc"
    assert _history(lagging, session_id).sync_token == "abc"
    assert _history(lagging, session_id + "-other").sync_token is None
    other = _history(lagging, session_id)
    other.key_prefix = "other:"
    assert other.sync_token is None


@pytest.mark.parametrize(
    "wrong", ["", " ", "a b", "a\r\nx-evil: 1", "a\n", "\x00", "é", "x" * 5000, b"bytes", 7, ["a"]], ids=repr
)
def test_an_invalid_sync_token_is_refused(upstash: LocalUpstash, wrong: Any) -> None:
    history = _history(upstash, "s")
    history.sync_token = "good"
    with pytest.raises(ValueError, match="sync token"):
        history.sync_token = wrong
    assert history.sync_token == "good"


def test_a_token_of_another_database_does_no_harm(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash, "s")
    history.sync_token = base64.b64encode(b"of another database").decode()
    history.add_user_message("x")
    assert len(call(history, "messages")) == 1


def test_a_read_under_way_does_not_replace_a_token_that_was_set(faulty: Callable[..., FaultyServer]) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def handler(exchange: Exchange) -> None:
        arrived.set()
        go_on.wait(60)
        exchange.reply(b'{"result": []}', headers="upstash-sync-token: old\r\n")

    async def main() -> None:
        history = UpstashRedisChatMessageHistory("s", faulty(handler).url, "t")
        reading = asyncio.create_task(history.aget_messages())
        await asyncio.to_thread(arrived.wait, 60)
        history.sync_token = "new"
        go_on.set()
        await reading
        assert history.sync_token == "new"

    asyncio.run(main())
