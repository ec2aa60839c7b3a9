"""What a token cannot reach: other databases of the same Redis, the engine itself, writes with a read-only token."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatstash.local import LocalUpstash
from chatstash.local.engine import Engine
from tests.local.client import Client, read_all
from tests.local.test_server import redis_on_a_port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with redis_on_a_port("--requirepass", "hunter2") as port:
        yield port


@pytest.fixture
def shared(port: int) -> Iterator[LocalUpstash]:
    """Two databases of one Redis, each with its token, and one that may only read the first."""
    url = f"redis://:hunter2@127.0.0.1:{port}"
    with LocalUpstash(redis=url, token="one", read_only_token="read", databases={"two": f"{url}/1"}) as upstash:
        Client(upstash, "one").run("SET", "k", "mine")
        Client(upstash, "two").run("SET", "k", "theirs")
        yield upstash
        assert Client(upstash, "two").run("GET", "k") == "theirs"
        assert Client(upstash, "two").run("DBSIZE") == 1


_SELECT = "redis.call('SELECT', 1) return redis.call('GET', 'k')"
_ESCAPES = [
    _SELECT,
    "redis.pcall('SELECT', 1) return redis.pcall('GET', 'k')",
    "redis['c' .. 'all']('SeLe' .. 'ct', '1') return redis.call('get', 'k')",
    "redis.setresp(3) redis.call('SELECT', 1) return redis.call('GET', 'k')",
    "local f = loadstring(\"redis.call('SELECT', 1)\") f() return redis.call('GET', 'k')",
    "pcall(redis.call, 'SELECT', 1) return redis.pcall('GET', 'k')",
    "server.call('SELECT', 1) return server.call('GET', 'k')",
    "redis.call('SWAPDB', 0, 1) return redis.call('GET', 'k')",
    "return redis.call('SLOWLOG', 'GET')",
    "return redis.call('COMMANDLOG', 'GET', 10, 'slow')",
]


@pytest.mark.parametrize(
    "flags", ["", "#!lua\n", "#!lua flags=no-writes\n", "#!lua flags=allow-key-locking,no-writes\n"]
)
@pytest.mark.parametrize("script", _ESCAPES)
def test_no_script_reads_another_database(shared: LocalUpstash, script: str, flags: str) -> None:
    for token, name in (("read", "EVAL_RO"), ("one", "EVAL"), ("one", "EVAL_RO")):
        client = Client(shared, token)
        for path in ("/pipeline", "/multi-exec"):
            assert "theirs" not in str(client.ask(path, [[name, flags + script, 0], ["PING"]]))
        assert "theirs" not in str(client.ask("/", [name, flags + script, 0]))
        # Nor does what comes after it on the same connection.
        assert client.ask("/", ["EVAL_RO", "return redis.call('GET', 'k')", 0]) == (200, {"result": "mine"})
        assert client.run("GET", "k") == "mine"


@pytest.mark.parametrize(
    "script",
    [
        "return redis.call('FLUSHALL')",
        "return redis.call('FLUSHALL', 'ASYNC')",
        "redis.call('SELECT', 1) return redis.call('FLUSHDB')",
        "redis.call('SELECT', 1) return redis.call('SET', 'k', 'x')",
        "return redis.call('COPY', 'k', 'k', 'DB', 1, 'REPLACE')",
        "redis.call('SET', 'other', 'x') return redis.call('MOVE', 'other', 1)",
        "return redis.call('SWAPDB', 0, 1)",
        "return redis.call('MIGRATE', '127.0.0.1', PORT, 'k', 1, 1000, 'COPY', 'REPLACE', 'AUTH', 'hunter2')",
    ],
)
def test_no_script_changes_another_database(shared: LocalUpstash, port: int, script: str) -> None:
    script = script.replace("PORT", f"'{port}'")
    for token, name in (("read", "EVAL_RO"), ("one", "EVAL"), ("one", "EVAL_RO")):
        error = Client(shared, token).error(name, script, 0)
        assert "not available to the script" in error or "Write commands are not allowed" in error
        assert Client(shared, token).ask("/multi-exec", [[name, script, 0]])[1][0]["error"]
    # `shared` looks at the other database in the end.
    assert Client(shared, "one").run("GET", "k") == "mine"


def test_no_function_reaches_another_database(shared: LocalUpstash) -> None:
    library = (
        "#!lua name=escape\nredis.register_function{function_name='escape', flags={'no-writes'}, "
        f"callback=function() {_SELECT} end}}"
    )
    assert Client(shared, "one").run("FUNCTION", "LOAD", "REPLACE", library) == "escape"
    for token, name in (("read", "FCALL_RO"), ("one", "FCALL"), ("one", "FCALL_RO")):
        assert "not available to the script" in Client(shared, token).error(name, "escape", 0)


def test_a_script_with_a_read_only_token_only_reads(shared: LocalUpstash) -> None:
    client = Client(shared, "read")
    assert client.run("EVAL_RO", "return redis.call('STRLEN', KEYS[1])", 1, "k") == 4
    for call in ("'SET', 'k', 'x'", "'SCAN', 0", "'KEYS', '*'", "'PUBLISH', 'c', 'm'", "'FLUSHDB'", "'SORT', 'k'"):
        assert "not available to the script" in client.error("EVAL_RO", f"return redis.call({call})", 0)


def test_flushing_one_database_leaves_the_other(shared: LocalUpstash) -> None:
    for command in (["FLUSHALL"], ["flushall", "ASYNC"], ["FLUSHDB"]):
        Client(shared, "one").run("SET", "x", "y")
        assert Client(shared, "one").run(*command) == "OK"
        assert Client(shared, "one").run("DBSIZE") == 0
    Client(shared, "one").run("SET", "x", "y")
    assert Client(shared, "one").ask("/multi-exec", [["FLUSHALL"], ["EVAL", "return 1", 0]])[0] == 200
    assert Client(shared, "one").run("DBSIZE") == 0


def test_monitor_shows_its_own_database(shared: LocalUpstash) -> None:
    reply = Client(shared, "one").pool.request("POST", f"{shared.url}/monitor?_token=one", preload_content=False)
    events = reply.stream()
    assert next(events) == b'data: "OK"\n\n'
    Client(shared, "two").run("GET", "k")
    Client(shared, "one").run("GET", "mark")
    assert b'"GET" "mark"' in next(events)
    reply.close()


def test_scripts_leave_no_user_in_the_redis_given(port: int) -> None:
    with LocalUpstash(redis=f"redis://:hunter2@127.0.0.1:{port}", read_only_token="read") as upstash:
        for token in (upstash.token, "read"):
            assert Client(upstash, token).run("EVAL_RO", "return 1", 0) == 1
        with socket.create_connection(("127.0.0.1", port)) as redis:
            assert asked(redis, "AUTH hunter2", "ACL USERS").count(b"chatstash-") == 2
    with socket.create_connection(("127.0.0.1", port)) as redis:
        assert asked(redis, "AUTH hunter2", "ACL USERS") == b"+OK\r\n*1\r\n$7\r\ndefault\r\n"


def asked(redis: socket.socket, *commands: str) -> bytes:
    """Send commands as a line each, and return what comes back until the Redis hangs up."""
    redis.sendall("".join(f"{line}\r\n" for line in [*commands, "QUIT"]).encode())
    return read_all(redis).removesuffix(b"+OK\r\n")


def test_without_access_rules_scripts_are_for_the_only_token() -> None:
    # A login that may not make users, as hosted ones are.
    with redis_on_a_port(*["--user", "limited", "on", ">pw", "~*", "&*", "+@all", "-acl"]) as port:
        url = f"redis://limited:pw@127.0.0.1:{port}"
        with LocalUpstash(redis=url) as upstash:
            assert Client(upstash).run("EVAL", "return 1", 0) == 1
        for more in ({"read_only_token": "read"}, {"databases": {"two": f"{url}/1"}}):
            with LocalUpstash(redis=url, **more) as upstash:  # type: ignore[arg-type]
                assert "does not support access rules" in Client(upstash).error("EVAL", "return 1", 0)
                assert Client(upstash).run("SET", "k", "v") == "OK"


def test_the_engine_is_behind_a_socket_of_its_owners_and_opens_no_port() -> None:
    engine = Engine()
    engine.start()
    try:
        path = Path(engine.url.removeprefix("unix://"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert asked(client, "CONFIG GET port") == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"
    finally:
        engine.stop()
