"""Scripts are sent whole once, and then as their digests, unless the server does not know them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from typing import Any

import pytest
import urllib3

from chatstash.errors import CommandRejected, ReadOnlyToken
from chatstash.local import LocalUpstash
from chatstash.rest.commands import KEY_LOCKING, READING, Batch, Command, Effect
from chatstash.rest.database import Database
from chatstash.rest.digests import KnownScripts
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.limits import Budget
from chatstash.rest.ops import send
from tests.conftest import Call, call_sync
from tests.faulty import Exchange, FaultyServer

Start = Callable[..., FaultyServer]
Run = Callable[..., object]

PADDING = "-- " + "x" * 2000
ADD = f"{KEY_LOCKING}return {{redis.call('INCR', KEYS[1]), 1}} {PADDING}"
READ = f"{READING}return {{redis.call('GET', KEYS[1]), 1}} {PADDING}"
ADDING: Command = ("EVAL", ADD, 1, "n")
READING_IT: Command = ("EVAL_RO", READ, 1, "n")


def sha(script: str) -> str:
    return sha1(script.encode()).hexdigest()


def database(server: LocalUpstash | FaultyServer, token: str = "secret") -> Database:
    return Database(Endpoint(server.url, server.token if isinstance(server, LocalUpstash) else token))


def run_batch(
    call: Call, target: Database, *commands: Command, effect: Effect = Effect.WRITE, atomic: bool = False
) -> Any:
    batch = Batch(commands, atomic=atomic, effect=effect, command_count_index=1)
    # No retries, so that each further request of an operation is one that is no failure.
    return call(target, "run", "test", send(batch), "n", Budget(retries=0))


def scripts_sent(server: LocalUpstash, since: int = 0) -> list[str]:
    commands = [command for request in server.log[since:] for command in request.commands]
    return [command for command in commands if command.startswith("EVAL")]


def test_the_first_use_sends_the_script_and_later_ones_its_digest(upstash: LocalUpstash, call: Call) -> None:
    target = database(upstash)
    costs = [run_batch(call, target, ADDING).cost for _ in range(3)]
    assert scripts_sent(upstash) == ["EVAL", *[f"EVALSHA {sha(ADD)}"] * 2]
    assert [cost.requests for cost in costs] == [1, 1, 1]
    assert [cost.commands for cost in costs] == [2, 2, 2]
    assert sum(request.billed_commands for request in upstash.log) == 6
    assert costs[1].bytes_sent == costs[2].bytes_sent == costs[0].bytes_sent - len(json.dumps(ADD)) + 42 + len("SHA")


def test_a_script_that_only_reads_has_a_digest_of_its_own_command(upstash: LocalUpstash, call: Call) -> None:
    target = database(upstash)
    for _ in range(2):
        run_batch(call, target, ("EVAL", READ, 1, "n"), effect=Effect.READ)
        run_batch(call, target, READING_IT, effect=Effect.READ)
    digest = sha(READ)
    assert scripts_sent(upstash) == ["EVAL", "EVAL_RO", f"EVALSHA {digest}", f"EVALSHA_RO {digest}"]


def test_another_database_of_the_endpoint_goes_on_with_digests(upstash: LocalUpstash, call: Call) -> None:
    run_batch(call, database(upstash), ADDING)
    run_batch(call, database(upstash), ADDING)
    assert scripts_sent(upstash) == ["EVAL", f"EVALSHA {sha(ADD)}"]


@pytest.mark.parametrize("effect", Effect)
def test_a_script_that_the_server_lost_is_sent_again_and_runs_once(
    upstash: LocalUpstash, run: Run, call: Call, effect: Effect
) -> None:
    target = database(upstash)
    run_batch(call, target, ADDING)
    run("SCRIPT", "FLUSH")
    replies = run_batch(call, target, ADDING, effect=effect)
    assert replies.values == ([2, 1],)
    stats = target.stats()
    # The refusal is billed as one command.
    assert (stats.requests, stats.commands, stats.retries) == (3, 2 + 1 + 2, 0)
    assert stats.commands == sum(r.billed_commands for r in upstash.log if "EVAL" in r.commands[0])
    assert run_batch(call, target, ADDING).values == ([3, 1],)
    digest = f"EVALSHA {sha(ADD)}"
    assert scripts_sent(upstash) == ["EVAL", digest, "EVAL", digest]


@pytest.mark.parametrize("effect", [Effect.READ, Effect.IDEMPOTENT])
def test_a_pipeline_that_may_run_twice_has_digests(upstash: LocalUpstash, run: Run, call: Call, effect: Effect) -> None:
    target, digest = database(upstash), f"EVALSHA_RO {sha(READ)}"
    run("SET", "n", "1")
    for expected in (["EVAL_RO"], [digest]):
        start = len(upstash.log)
        replies = run_batch(call, target, ("EXPIRE", "n", 60), READING_IT, ("TTL", "n"), effect=effect)
        assert replies.values == (1, [b"1", 1], 60)
        assert scripts_sent(upstash, start) == expected
    run("SCRIPT", "FLUSH")
    start = len(upstash.log)
    replies = run_batch(call, target, ("EXPIRE", "n", 60), READING_IT, ("TTL", "n"), effect=effect)
    assert replies.values == (1, [b"1", 1], 60)
    assert scripts_sent(upstash, start) == [digest, "EVAL_RO"]


@pytest.mark.parametrize(("effect", "atomic"), [(Effect.WRITE, False), (Effect.WRITE, True), (Effect.IDEMPOTENT, True)])
def test_other_batches_have_whole_scripts(
    upstash: LocalUpstash, run: Run, call: Call, effect: Effect, atomic: bool
) -> None:
    target = database(upstash)
    for number in (1, 2, 3):
        run("SCRIPT", "FLUSH")
        replies = run_batch(call, target, ADDING, ("INCR", "m"), effect=effect, atomic=atomic)
        assert replies.values == ([number, 1], number)
    assert scripts_sent(upstash) == ["EVAL"] * 3


def test_a_short_script_is_always_sent_whole(upstash: LocalUpstash, call: Call) -> None:
    target = database(upstash)
    for _ in range(2):
        run_batch(call, target, ("EVAL", f"{KEY_LOCKING}return {{1, 0}}", 0))
    assert scripts_sent(upstash) == ["EVAL", "EVAL"]


def test_a_script_that_failed_is_not_taken_to_be_cached(upstash: LocalUpstash, call: Call) -> None:
    target = database(upstash)
    for _ in range(2):
        with pytest.raises(CommandRejected):
            run_batch(call, target, ("EVAL", f"{KEY_LOCKING}return nonsense( {PADDING}", 0))
    assert scripts_sent(upstash) == ["EVAL", "EVAL"]


def test_a_token_that_may_not_write_has_digests_for_what_it_may_run(call: Call) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        target = Database(Endpoint(upstash.url, "reader"))
        for _ in range(2):
            with pytest.raises(ReadOnlyToken):
                run_batch(call, target, ADDING)
            run_batch(call, target, READING_IT, effect=Effect.READ)
        assert scripts_sent(upstash) == ["EVAL", "EVAL_RO", "EVAL", f"EVALSHA_RO {sha(READ)}"]


def test_many_threads_lose_their_scripts_at_once(upstash: LocalUpstash, run: Run) -> None:
    target = database(upstash)
    run_batch(call_sync, target, ADDING)
    run("SCRIPT", "FLUSH")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: run_batch(call_sync, target, ADDING), range(32)))
    assert sorted(reply.values[0][0] for reply in replies) == list(range(2, 34))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_goes_on_with_digests(upstash: LocalUpstash) -> None:
    target = database(upstash)
    run_batch(call_sync, target, ADDING)
    child = os.fork()
    if not child:
        try:
            run_batch(call_sync, target, ADDING)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert scripts_sent(upstash) == ["EVAL", f"EVALSHA {sha(ADD)}"]


def forwarding(upstash: LocalUpstash, refused: Callable[[Sequence[str]], str | None]) -> Callable[[Exchange], None]:
    """Answer as the server does, except for commands that are refused with an error."""

    def handler(exchange: Exchange) -> None:
        _, _, body = exchange.request.partition(b"\r\n\r\n")
        error = refused(json.loads(body))
        if error is not None:
            exchange.reply(json.dumps({"error": error}).encode(), "400 Bad Request")
            return
        headers = {"authorization": f"Bearer {upstash.token}", "upstash-encoding": "base64"}
        reply = urllib3.request("POST", upstash.url, body=body, headers=headers, retries=False)
        exchange.reply(reply.data, f"{reply.status} as it is")

    return handler


@pytest.mark.parametrize(
    "error",
    [
        "ERR Command is not available: 'EVALSHA'. See https://upstash.com/docs/redis/overall/rediscompatibility",
        "ERR unknown command 'EVALSHA', with args beginning with: 'abc' ",
        "NOPERM this user has no permissions to run the 'evalsha' command",
    ],
)
def test_a_server_that_takes_no_digests_gets_whole_scripts_for_good(
    upstash: LocalUpstash, faulty: Start, call: Call, error: str
) -> None:
    server = faulty(forwarding(upstash, lambda command: error if command[0] == "EVALSHA" else None))
    for number in range(1, 5):
        assert run_batch(call, database(server), ADDING).values == ([number, 1],)
    sent = [json.loads(request.partition(b"\r\n\r\n")[2])[0] for request in server.requests]
    assert sent == ["EVAL", "EVALSHA", "EVAL", "EVAL", "EVAL"]


def test_a_server_that_caches_nothing_is_not_asked_forever(upstash: LocalUpstash, faulty: Start, call: Call) -> None:
    error = "NOSCRIPT No matching script. Please use EVAL."
    server = faulty(forwarding(upstash, lambda command: error if command[0] == "EVALSHA" else None))
    target = database(server)
    assert [run_batch(call, target, ADDING).values[0][0] for _ in range(20)] == list(range(1, 21))
    assert sum(b"EVALSHA" in request for request in server.requests) == 8


@pytest.mark.parametrize("script", [ADD, READ])
def test_a_server_without_the_flags_gets_digests_of_scripts_without_them(
    upstash: LocalUpstash, run: Run, faulty: Start, call: Call, script: str
) -> None:
    error = "ERR Unexpected flag in script shebang: allow-key-locking"
    server = faulty(forwarding(upstash, lambda command: error if "allow-key-locking" in command[1] else None))
    run("SET", "n", "0")
    command = ("EVAL_RO" if script == READ else "EVAL", script, 1, "n")
    target = database(server)
    for _ in range(3):
        assert not isinstance(run_batch(call, target, command, effect=Effect.IDEMPOTENT).values[0], Exception)
    plain = script.removeprefix(KEY_LOCKING).removeprefix(READING)
    sent = [json.loads(request.partition(b"\r\n\r\n")[2])[:2] for request in server.requests]
    name = command[0]
    assert sent == [[name, script], [name, plain], *[[f"{name[:4]}SHA{name[4:]}", sha(plain)]] * 2]


def test_what_is_remembered_is_bounded() -> None:
    known = KnownScripts()
    for number in range(2000):
        command: Command = ("EVAL", f"return {number} {PADDING}", 0)
        known.learn([command], [1])
        short = known.shortened(command)
        assert short[0] == "EVALSHA"
        known.forget([short])
        assert known.shortened(command) is command
        known.learn([command], [1])
    assert len(known._known) <= 500
    assert len(known._misses) <= 500


def test_nothing_is_learnt_from_an_error() -> None:
    known = KnownScripts()
    known.learn([ADDING], [CommandRejected("")])
    assert known.shortened(ADDING) is ADDING


def test_a_hit_makes_up_for_misses() -> None:
    known = KnownScripts()
    for _ in range(20):
        known.learn([ADDING], [1])
        short = known.shortened(ADDING)
        assert short[0] == "EVALSHA"
        known.learn([short], [1])
        known.forget([short])


def test_only_the_first_of_simultaneous_misses_counts() -> None:
    known = KnownScripts()
    known.learn([ADDING], [1])
    short = known.shortened(ADDING)
    for _ in range(100):
        known.forget([short])
    known.learn([ADDING], [1])
    assert known.shortened(ADDING) == short


def test_a_missing_script_is_sent_whole_even_if_another_thread_has_just_learnt_it(
    upstash: LocalUpstash, run: Run, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = database(upstash)
    run_batch(call, target, ADDING)
    run("SCRIPT", "FLUSH")
    # As if another thread had sent the script to another replica before the refusal was handled.
    monkeypatch.setattr(target._scripts, "forget", lambda sent: None)
    assert run_batch(call, target, ADDING).values == ([2, 1],)
    assert scripts_sent(upstash) == ["EVAL", f"EVALSHA {sha(ADD)}", "EVAL"]
