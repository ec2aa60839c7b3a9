"""Scripts are sent by digest once the server has them, and whole where it has not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from chatstash import Budget, CommandRejected, Store
from chatstash.local import LocalUpstash
from chatstash.rest.commands import KEY_LOCKING, READING, Batch, Effect
from chatstash.rest.database import Database
from chatstash.rest.digests import KnownScripts, known_scripts
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.ops import send
from tests.conftest import Call
from tests.faulty import Exchange, FaultyServer

Run = Callable[..., object]
Start = Callable[..., FaultyServer]
PADDING = "-- " + "x" * 1000 + "\n"
ADD = f"{KEY_LOCKING}{PADDING}return redis.call('INCR', KEYS[1])"
READ = f"{READING}{PADDING}return redis.call('GET', KEYS[1])"


@pytest.fixture
def database(upstash: LocalUpstash) -> Database:
    return Store(upstash.url, upstash.token).database


def _values(database: Database, call: Call, batch: Batch) -> tuple[object, ...]:
    return call(database, "run", "test", send(batch), "k", Budget()).values  # type: ignore[no-any-return]


def _add(effect: Effect = Effect.WRITE) -> Batch:
    return Batch((("EVAL", ADD, 1, "k"),), effect=effect)


@pytest.mark.parametrize("script", [("EVAL", ADD), ("EVAL_RO", READ)])
def test_the_second_use_sends_the_digest(
    upstash: LocalUpstash, database: Database, call: Call, script: tuple[str, str]
) -> None:
    batch = Batch(((*script, 1, "k"),))
    _values(database, call, batch)
    before = upstash.stats
    _values(database, call, batch)
    used = upstash.stats - before
    assert (used.requests, used.billed_commands) == (1, 2)
    assert used.bytes_received < 100
    assert upstash.log[-1].commands[0].startswith(script[0].replace("EVAL", "EVALSHA"))


def test_another_store_of_the_process_knows_them(upstash: LocalUpstash, database: Database, call: Call) -> None:
    _values(database, call, _add())
    before = upstash.stats
    _values(Store(upstash.url, upstash.token).database, call, _add())
    assert (upstash.stats - before).bytes_received < 100


def test_a_missing_script_is_sent_again_and_runs_once(
    upstash: LocalUpstash, database: Database, call: Call, run: Run
) -> None:
    assert _values(database, call, _add()) == (1,)
    run("SCRIPT", "FLUSH")
    before = upstash.stats
    assert _values(database, call, _add()) == (2,)
    assert (upstash.stats - before).requests == 2
    assert database.stats().retries == 0
    assert _values(database, call, _add()) == (3,)
    assert (upstash.stats - before).requests == 3


def test_in_a_pipeline_that_may_be_sent_twice(upstash: LocalUpstash, database: Database, call: Call, run: Run) -> None:
    batch = Batch((("EVAL_RO", READ, 1, "k"), ("EXPIRE", "k", 100)), effect=Effect.IDEMPOTENT)
    run("SET", "k", "7")
    assert _values(database, call, batch) == (b"7", 1)
    assert _values(database, call, batch) == (b"7", 1)
    assert upstash.log[-1].bytes_received < 200
    run("SCRIPT", "FLUSH")
    assert _values(database, call, batch) == (b"7", 1)


def test_a_write_with_other_commands_is_never_sent_by_digest(
    upstash: LocalUpstash, database: Database, call: Call, run: Run
) -> None:
    _values(database, call, _add())
    run("SCRIPT", "FLUSH")
    batch = Batch((("EVAL", ADD, 1, "k"), ("INCR", "other")), atomic=True, effect=Effect.WRITE)
    assert _values(database, call, batch) == (2, 1)
    assert run("GET", "other") == "1"


def test_a_server_that_keeps_no_scripts_is_not_asked_for_ever(
    upstash: LocalUpstash, database: Database, call: Call, run: Run
) -> None:
    for _ in range(9):
        _values(database, call, _add())
        run("SCRIPT", "FLUSH")
    before = upstash.stats
    _values(database, call, _add())
    assert (upstash.stats - before).requests == 1


@pytest.mark.parametrize(
    "text", ["ERR Command is not available: 'EVALSHA'", "NOPERM no permissions to run the 'evalsha' command"]
)
def test_a_server_that_refuses_digests_gets_the_text(faulty: Start, call: Call, text: str) -> None:
    def refusing(exchange: Exchange) -> None:
        refused = b"EVALSHA" in exchange.request
        body: dict[str, object] = {"error": text} if refused else {"result": 1}
        exchange.reply(json.dumps(body).encode(), "400 Bad Request" if refused else "200 OK")

    server = faulty(refusing)
    database = Store(server.url, "t").database
    for _ in range(3):
        assert _values(database, call, _add()) == (1,)
    assert [b"EVALSHA" in request for request in server.requests] == [False, True, False, False]


def test_a_script_that_fails_is_not_sent_twice(upstash: LocalUpstash, database: Database, call: Call) -> None:
    failing = f"{KEY_LOCKING}{PADDING}return redis.error_reply('ERR no')"
    with pytest.raises(CommandRejected):
        _values(database, call, Batch((("EVAL", failing, 1, "k"),), effect=Effect.WRITE))
    assert upstash.stats.requests == 1


def test_short_scripts_and_other_commands_stay_as_they_are() -> None:
    known = KnownScripts()
    for command in (("EVAL", "return 1", 0), ("GET", "k" * 200), ("SET", ADD, "x")):
        known.learn([command], [1])
        assert known.shortened(command) == command


def test_a_forked_child_knows_them(upstash: LocalUpstash) -> None:
    known = known_scripts(Endpoint(upstash.url, upstash.token))
    known.learn([("EVAL", ADD, 1, "k")], [1])
    child = os.fork()
    if not child:
        os._exit(0 if known.shortened(("EVAL", ADD, 1, "k"))[0] == "EVALSHA" else 1)
    assert os.waitpid(child, 0)[1] == 0
