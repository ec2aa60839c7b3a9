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


HOUR = 3600
FAMILIES: dict[str, list[tuple[Any, ...]]] = {
    "strings": [
        ("setex", ("k", HOUR, "v"), True), ("psetex", ("p", HOUR * 1000, "v"), True), ("setnx", ("k", "x"), False),
        ("getset", ("k", "w"), "v"), ("getex", ("k",), "w"), ("setrange", ("k", 1, "xyz"), 4), ("strlen", ("k",), 4),
        ("substr", ("k", 0, 1), "wx"), ("msetnx", ({"m": "1", "n": "2"},), True), ("decrby", ("n", 5), -3),
        ("incrbyfloat", ("n", 0.5), -2.5), ("mget", ("m", "n", "o"), ["1", "-2.5", None]),
    ],
    "keys": [
        ("set", ("k", "v"), True), ("copy", ("k", "c"), True), ("rename", ("c", "d"), True),
        ("renamenx", ("d", "k"), False), ("type", ("k",), "string"), ("touch", ("k", "d", "e"), 2),
        ("expire", ("k", HOUR), True), ("persist", ("k",), True), ("ttl", ("k",), -1),
        ("pexpire", ("k", HOUR * 1000), True), ("expireat", ("k", 4102444800), True), ("pttl", ("none",), -2),
        ("unlink", ("d",), 1), ("randomkey", (), "k"), ("keys", ("*",), ["k"]), ("scan", (0,), (0, ["k"])),
        ("dbsize", (), 1), ("exists", ("k", "d"), 1), ("flushall", (), True), ("dbsize", (), 0),
    ],
    "bits": [
        ("setbit", ("b", 1, 1), False), ("getbit", ("b", 1), True), ("bitcount", ("b",), 1), ("bitpos", ("b", 1), 1),
        ("setbit", ("c", 2, 1), False), ("bitop", ("OR", "d", "b", "c"), 1), ("bitcount", ("d",), 2),
    ],
    "lists": [
        ("rpush", ("l", "a", "b", "a"), 3), ("lpushx", ("none", "x"), 0), ("rpushx", ("l", "c"), 4),
        ("lpos", ("l", "a", 2), 2), ("rpoplpush", ("l", "m"), "c"), ("lindex", ("m", 0), "c"),
        ("lpop", ("l", 2), ["a", "b"]), ("llen", ("l",), 1),
    ],
    "hashes": [
        ("hset", ("h", "a", "1"), 1), ("hsetnx", ("h", "a", "2"), False), ("hmset", ("h", {"b": "2"}), True),
        ("hincrbyfloat", ("h", "a", 0.5), 1.5), ("hstrlen", ("h", "a"), 3), ("hvals", ("h",), ["1.5", "2"]),
        ("hrandfield", ("none",), None), ("hscan", ("h", 0), (0, {"a": "1.5", "b": "2"})),
        ("hexpire", ("h", ["a"], HOUR), [1]), ("hpersist", ("h", ["a"]), [1]), ("httl", ("h", ["a"]), [-1]),
        ("hpexpire", ("h", ["a"], HOUR * 1000), [1]), ("hdel", ("h", "a", "b"), 2),
    ],
    "sets": [
        ("sadd", ("s", "a", "b", "c"), 3), ("sadd", ("t", "b"), 1), ("sdiffstore", ("u", "s", "t"), 2),
        ("sinterstore", ("v", "s", "t"), 1), ("sunionstore", ("w", "s", "t"), 3),
        ("smismember", ("s", "a", "x"), [1, 0]),
        ("smove", ("s", "t", "a"), True), ("scard", ("t",), 2), ("sscan", ("v", 0), (0, ["b"])),
        ("srandmember", ("v",), "b"),
    ],
    "sorted sets": [
        ("zadd", ("z", {"a": 1, "b": 2, "c": 3}), 3), ("zadd", ("y", {"b": 10}), 1), ("zcard", ("z",), 3),
        ("zdiff", (["z", "y"],), ["a", "c"]), ("zdiffstore", ("o", ["z", "y"]), 2), ("zinter", (["z", "y"],), ["b"]),
        ("zinterstore", ("p", ["z", "y"]), 1), ("zunion", (["z", "y"],), ["a", "c", "b"]),
        ("zunionstore", ("q", ["z", "y"]), 3), ("zmscore", ("z", ["a", "x"]), [1.0, None]),
        ("zrevrank", ("z", "a"), 2), ("zrangebyscore", ("z", 2, 3), ["b", "c"]), ("zlexcount", ("z", "-", "+"), 3),
        ("zrangestore", ("r", "z", 0, 1), 2), ("zrevrange", ("z", 0, 0), ["c"]), ("zpopmax", ("z",), [("c", 3.0)]),
        ("zremrangebyrank", ("z", 0, 0), 1), ("zremrangebyscore", ("z", 2, 2), 1),
        ("zscan", ("p", 0), (0, [("b", 12.0)])),
    ],
    "geo": [
        ("geoadd", ("g", (13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")), 2),
        ("geodist", ("g", "Palermo", "Catania", "KM"), 166.2742), ("geohash", ("g", "Palermo"), ["sqc8b49rny0"]),
        ("geosearch", ("g",), {"longitude": 15, "latitude": 37, "unit": "KM", "radius": 100}, ["Catania"]),
    ],
    "hyperloglog": [
        ("pfadd", ("p", "a", "b"), True), ("pfadd", ("q", "c"), True), ("pfmerge", ("r", "p", "q"), True),
        ("pfcount", ("r",), 3),
    ],
    "streams": [
        ("xadd", ("x", "1-0", {"a": "1"}), "1-0"), ("xadd", ("x", "2-0", {"a": "2"}), "2-0"), ("xlen", ("x",), 2),
        ("xrange", ("x", "-", "+"), [["1-0", ["a", "1"]], ["2-0", ["a", "2"]]]),
        ("xrevrange", ("x", "+", "-"), {"count": 1}, [["2-0", ["a", "2"]]]),
        ("xgroup_create", ("x", "g", "0"), "OK"),
        ("xreadgroup", ("g", "me", {"x": ">"}), {"count": 1}, [["x", [["1-0", ["a", "1"]]]]]),
        ("xack", ("x", "g", "1-0"), 1), ("xdel", ("x", "1-0"), 1), ("xtrim", ("x",), {"maxlen": 0}, 1),
        ("xgroup_destroy", ("x", "g"), 1),
    ],
    "scripts": [
        ("eval_ro", ("return ARGV[1]",), {"args": ["x"]}, "x"), ("script_flush", (), True),
    ],
    "server and others": [
        ("ping", ("hello",), "hello"), ("echo", ("x",), "x"), ("publish", ("c", "m"), 0), ("flushdb", (), True),
        ("client_setinfo", ("LIB-NAME", "test"), "OK"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_commands(do: Do, family: str) -> None:
    for name, arguments, *options, expected in FAMILIES[family]:
        result = do(name, *arguments, **(options[0] if options else {}))
        assert result == expected, f"{name}{arguments}"


def test_booleans_in_commands_pipelines_transactions_and_scripts(do: Do) -> None:
    assert do("set", "k", True)
    assert do("get", "k") == "true"
    assert do("hset", "h", values={"yes": True, "no": False}) == 2
    assert do("hgetall", "h") == {"yes": "true", "no": "false"}
    assert do("rpush", "l", True, False) == 2
    assert do("eval", "return ARGV", args=[True, False]) == ["true", "false"]
    for begin in (do.client.pipeline, do.client.multi):
        batch = begin()
        batch.set("k", False)
        batch.get("k")
        batch.lpush("l", False)
        batch.lrange("l", 0, 0)
        result = batch.exec()
        assert (do.run(result) if inspect.isawaitable(result) else result)[1::2] == ["false", ["false"]]


def test_none_and_containers_are_json_in_this_sdk(do: Do) -> None:
    assert do("set", "k", None)
    assert do("get", "k") == "null"
    assert do("set", "k", [1, {"a": True}])
    assert do("get", "k") == '[1, {"a": true}]'
