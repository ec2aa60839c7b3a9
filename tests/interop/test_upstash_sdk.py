"""The official Python SDK, unmodified, against the local server: sync and async."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

from chatstash.local import LocalUpstash

Do = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def do(request: pytest.FixtureRequest, upstash: LocalUpstash) -> Iterator[Do]:
    """Call a method of the SDK's client of either colour: `do("set", "k", "v")`."""
    with contextlib.ExitStack() as closing:
        runner = closing.enter_context(asyncio.Runner())
        if request.param == "sync":
            client: Any = closing.enter_context(Redis(upstash.url, upstash.token, rest_retries=0))
        else:
            client = AsyncRedis(upstash.url, upstash.token, rest_retries=0)
            closing.callback(lambda: runner.run(client.close()))

        async def settled(result: Any) -> Any:
            return await result

        def call(name: str, *args: Any, **kwargs: Any) -> Any:
            result = getattr(client, name)(*args, **kwargs)
            return runner.run(settled(result)) if inspect.isawaitable(result) else result

        call.client = client  # type: ignore[attr-defined]
        call.run = lambda awaitable: runner.run(settled(awaitable))  # type: ignore[attr-defined]
        yield call


def test_strings(do: Do) -> None:
    assert do("set", "k", "naïve 😀", ex=100)
    assert do("get", "k") == "naïve 😀"
    assert do("getrange", "k", 0, 1) == "na"
    assert 90 < do("ttl", "k") <= 100
    assert do("set", "k", "other", nx=True) in (None, False)
    assert (do("incr", "n"), do("incrby", "n", 5), do("decr", "n")) == (1, 6, 5)
    assert do("incrbyfloat", "f", 1.5) == 1.5
    assert do("append", "k", "!") == 12
    assert do("mset", {"a": "1", "b": "2"})
    assert do("mget", "a", "b", "none") == ["1", "2", None]
    assert do("getdel", "a") == "1"
    assert do("exists", "a", "b") == 1
    assert do("delete", "b", "k") == 2
    assert do("get", "k") is None


def test_lists(do: Do) -> None:
    assert do("rpush", "l", "a", "b", "c") == 3
    assert do("lpush", "l", "z") == 4
    assert do("lrange", "l", 0, -1) == ["z", "a", "b", "c"]
    assert do("llen", "l") == 4
    assert (do("lpop", "l"), do("rpop", "l")) == ("z", "c")
    assert do("lindex", "l", 0) == "a"
    assert do("lset", "l", 0, "A")
    assert do("linsert", "l", "AFTER", "A", "B") == 3
    assert do("ltrim", "l", 0, 1)
    assert do("lrem", "l", 1, "A") == 1
    assert do("lpos", "l", "B") == 0
    assert do("lmove", "l", "m", "LEFT", "RIGHT") == "B"
    assert do("lrange", "l", 0, -1) == []


def test_hashes(do: Do) -> None:
    assert do("hset", "h", values={"a": "1", "b": "2"}) == 2
    assert do("hget", "h", "a") == "1"
    assert do("hgetall", "h") == {"a": "1", "b": "2"}
    assert do("hmget", "h", "a", "none") == ["1", None]
    assert do("hincrby", "h", "a", 4) == 5
    assert sorted(do("hkeys", "h")) == ["a", "b"]
    assert do("hlen", "h") == 2
    assert do("hdel", "h", "a") == 1
    assert not do("hexists", "h", "a")


def test_sets(do: Do) -> None:
    assert do("sadd", "s", "a", "b") == 2
    assert set(do("smembers", "s")) == {"a", "b"}
    assert do("sismember", "s", "a")
    do("sadd", "t", "b", "c")
    assert set(do("sinter", "s", "t")) == {"b"}
    assert set(do("sunion", "s", "t")) == {"a", "b", "c"}
    assert set(do("sdiff", "s", "t")) == {"a"}
    assert do("scard", "s") == 2
    assert do("srem", "s", "a") == 1
    assert do("spop", "s") == "b"


def test_sorted_sets(do: Do) -> None:
    assert do("zadd", "z", {"a": 1, "b": 2.5, "c": 3}) == 3
    assert do("zscore", "z", "b") == 2.5
    assert do("zrange", "z", 0, -1) == ["a", "b", "c"]
    assert do("zrange", "z", 0, -1, withscores=True) == [("a", 1.0), ("b", 2.5), ("c", 3.0)]
    assert do("zrank", "z", "c") == 2
    assert do("zincrby", "z", 10, "a") == 11
    assert do("zcount", "z", 3, "+inf") == 2
    assert do("zrem", "z", "a") == 1
    assert do("zpopmin", "z") == [("b", 2.5)]


def test_scripts(do: Do) -> None:
    script = "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}"
    assert do("eval", script, keys=["n"], args=["x"]) == ["n", "x", 1]
    sha = do("script_load", script)
    assert sha == hashlib.sha1(script.encode()).hexdigest()
    assert do("evalsha", sha, keys=["n"], args=["x"]) == ["n", "x", 2]
    assert do("script_exists", sha, "0" * 40) == [True, False]
    with pytest.raises(UpstashError, match="NOSCRIPT"):
        do("evalsha", "0" * 40)


def test_scripts_that_lock_only_their_keys(do: Do) -> None:
    script = "#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])"
    sha = hashlib.sha1(script.encode()).hexdigest()
    assert do("eval", script, keys=["n"]) == 1
    assert do("evalsha", sha, keys=["n"]) == 2
    assert do("script_load", script) == sha
    assert do("script_exists", sha) == [True]
    read_only = "#!lua flags=no-writes,allow-key-locking\nreturn redis.call('GET', KEYS[1])"
    assert do("eval_ro", read_only, keys=["n"]) == "2"


def test_pipelines_and_transactions(do: Do) -> None:
    for name in ("pipeline", "multi"):
        batch = getattr(do.client, name)()  # type: ignore[attr-defined]
        batch.set("k", "v").get("k").incr("n").lrange("none", 0, -1)
        result = batch.exec()
        if inspect.isawaitable(result):
            result = do.run(result)  # type: ignore[attr-defined]
        assert result[:2] == [True, "v"]
        assert result[3] == []


def test_errors_come_as_errors(do: Do) -> None:
    do("set", "k", "v")
    with pytest.raises(UpstashError, match="WRONGTYPE"):
        do("lpush", "k", "x")
    with pytest.raises(UpstashError, match="not available"):
        do("execute", ["CONFIG", "GET", "*"])


def test_other_families(do: Do) -> None:
    assert do("xadd", "x", "*", {"a": "1"})
    assert do("xlen", "x") == 1
    assert do("geoadd", "g", (13.361389, 38.115556, "Palermo")) == 1
    assert do("setbit", "bits", 7, 1) == 0
    assert do("bitcount", "bits") == 1
    assert do("pfadd", "hll", "a", "b")
    assert do("pfcount", "hll") == 2
    assert do("ping") == "PONG"
    assert do("echo", "x") == "x"
    assert do("dbsize") == 4
    assert do("flushdb")
