"""What the saver promises beyond LangGraph's own suite: costs, ids of any kind, expiry, types, encryption."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import os
import pickle
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="langgraph-checkpoint is not installed; make test installs it")

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from pydantic import BaseModel

from chatstash import (
    CorruptCheckpoint,
    LargeThreadWarning,
    ReadOnlyToken,
    Store,
    TypeNotAllowed,
    UnstorableValue,
    UnsupportedCheckpoint,
)
from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from chatstash.threads.operations import put as put_module
from tests.conftest import Call

Run = Callable[..., Any]


@pytest.fixture
def saver(upstash: LocalUpstash) -> UpstashRedisSaver:
    return UpstashRedisSaver(upstash.url, upstash.token)


def config_of(thread_id: object = "t", namespace: str = "", checkpoint_id: str | None = None) -> Any:
    named = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, **named}}


def put(call: Call, saver: UpstashRedisSaver, config: Any, values: dict[str, Any], **metadata: Any) -> Any:
    """Store a checkpoint in which all channels are new, and return its config."""
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = values
    checkpoint["channel_versions"] = {name: saver.get_next_version(None, None) for name in values}
    return call(saver, "put", config, checkpoint, {"step": 1, **metadata}, checkpoint["channel_versions"])


def values(call: Call, saver: UpstashRedisSaver, config: Any) -> Any:
    found = call(saver, "get_tuple", config)
    return found and found.checkpoint["channel_values"]


def listed(call: Call, saver: UpstashRedisSaver, config: Any, **options: Any) -> list[Any]:
    if call.__name__ == "call_sync":
        return list(saver.list(config, **options))

    async def all_of() -> list[Any]:
        return [found async for found in saver.alist(config, **options)]

    return asyncio.run(all_of())


MESSAGES = [HumanMessage("h" * 200, id="1"), AIMessage("a" * 200, id="2")]


def test_each_operation_takes_one_request(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    def cost(*words: Any, **options: Any) -> tuple[int, int]:
        before = upstash.stats
        listed(call, saver, *words[1:], **options) if words[0] == "list" else call(saver, *words, **options)
        used = upstash.stats - before
        return used.requests, used.billed_commands

    first = put(call, saver, config_of(), {"messages": MESSAGES})
    assert cost("get_tuple", config_of()) == (1, 4)
    assert cost("get_tuple", first) == (1, 4)
    assert cost("get_tuple", config_of("new")) == (1, 2)
    assert cost("put_writes", first, [("messages", [])], "task") == (1, 2)
    assert cost("put_writes", first, [(INTERRUPT, "x")], "task") == (1, 2)
    assert cost("list", config_of(), limit=1) == (1, 4)
    assert cost("list", {"configurable": {"thread_id": "t"}}, limit=1) == (1, 5)
    assert cost("copy_thread", "t", "u")[0] == 1
    assert cost("delete_thread", "t")[0] == 1


def test_with_a_ttl(upstash: LocalUpstash, call: Call) -> None:
    saver = UpstashRedisSaver(upstash.url, upstash.token, ttl=100, refresh_ttl_on_read=True)
    first = put(call, saver, config_of(), {"messages": MESSAGES})
    before = upstash.stats
    put(call, saver, first, {"messages": MESSAGES})
    assert (upstash.stats - before).billed_commands == 4
    call(saver, "get_tuple", config_of())
    before = upstash.stats
    call(saver, "get_tuple", config_of())
    assert ((upstash.stats - before).requests, (upstash.stats - before).billed_commands) == (1, 6)


HOSTILE = [
    ":",
    "!",
    "%",
    "%21",
    "t!c!",
    "a\0b",
    "🦊",
    "*",
    "[x]",
    "t:h",
    "t:z",
    ":threads",
    " ",
    "\n",
    "../..",
    "ä" * 1000,
]


@pytest.mark.parametrize("thread_id", HOSTILE)
def test_no_id_reaches_another_thread(saver: UpstashRedisSaver, either: Call, run: Run, thread_id: str) -> None:
    others = [thread_id + suffix for suffix in ("!", ":", ":h", "x", "%")]
    for other in (*others, thread_id):
        stored = put(either, saver, config_of(other, other), {"own": other})
        either(saver, "put_writes", stored, [("own", other)], other, other)
    for other in (*others, thread_id):
        found = either(saver, "get_tuple", config_of(other, other))
        assert found.checkpoint["channel_values"] == {"own": other}
        assert found.pending_writes == [(other, "own", other)]
        assert len(listed(either, saver, {"configurable": {"thread_id": other}})) == 1
    either(saver, "delete_thread", thread_id)
    assert [values(either, saver, config_of(other, other)) for other in others] == [{"own": other} for other in others]
    for other in others:
        either(saver, "delete_thread", other)
    assert run("DBSIZE") == 0


@pytest.mark.parametrize("namespace", HOSTILE)
def test_no_namespace_reaches_another(saver: UpstashRedisSaver, either: Call, namespace: str) -> None:
    for other in ("", namespace, namespace + "!", namespace + "x"):
        put(either, saver, config_of("t", other), {"own": other})
    for other in ("", namespace, namespace + "!", namespace + "x"):
        assert values(either, saver, config_of("t", other)) == {"own": other}
        assert [found.checkpoint["channel_values"] for found in listed(either, saver, config_of("t", other))] == [
            {"own": other}
        ]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"configurable": {}},
        {"configurable": {"thread_id": ""}},
        {"configurable": {"thread_id": None}},
        {"configurable": {"thread_id": b"x"}},
        {"configurable": {"thread_id": True}},
        {"configurable": {"thread_id": "\ud800"}},
        {"configurable": {"thread_id": "x" * 40_000}},
        {"configurable": {"thread_id": "t", "checkpoint_ns": 7}},
        {"configurable": {"thread_id": "t", "checkpoint_id": 7}},
        {"configurable": {"thread_id": "t", "checkpoint_ns": "\ud800"}},
    ],
)
def test_an_invalid_config_is_refused_before_anything_is_sent(
    upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, config: Any
) -> None:
    for attempt in (
        lambda: put(call, saver, config, {"x": 1}),
        lambda: call(saver, "get_tuple", config),
        lambda: call(saver, "put_writes", config, [("x", 1)], "task"),
        lambda: listed(call, saver, config),
        lambda: call(saver, "get_delta_channel_history", config=config, channels=["x"]),
    ):
        with pytest.raises(ValueError):
            attempt()
    assert upstash.stats.requests == 0


def test_invalid_arguments_are_refused(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    for name, *arguments in (
        ("delete_thread", ""),
        ("copy_thread", "a", ""),
        ("prune", [""]),
        ("delete_for_runs", [7]),
        ("delete_user", ""),
    ):
        with pytest.raises(ValueError):
            call(saver, name, *arguments)
    for options in ({"strategy": "all"}, {"keep_last": 0}, {"keep_last": True}):
        with pytest.raises(ValueError):
            call(saver, "prune", ["t"], **options)
    for wrong in ({"limit": 0}, {"limit": 5000}, {"cursor": "x"}, {"cursor": 7}, {"user_id": ""}):
        with pytest.raises(ValueError):
            call(saver, "list_threads", **wrong)
    for options in ({"ttl": 0}, {"key_prefix": "chatstash:"}, {"key_prefix": 7}, {"allowed_types": ["x"]}):
        with pytest.raises(ValueError):
            UpstashRedisSaver(upstash.url, upstash.token, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not both"):
        UpstashRedisSaver("http://x", store=Store(upstash.url, upstash.token))
    with pytest.raises(ValueError, match="its own list"):
        UpstashRedisSaver(upstash.url, upstash.token, serde=JsonPlusSerializer(), allowed_types=[int])
    assert upstash.stats.requests == 0


def test_writes_in_order_and_once(saver: UpstashRedisSaver, call: Call) -> None:
    stored = put(call, saver, config_of(), {"x": 1})
    call(saver, "put_writes", stored, [("b", 1), ("a", 2)], "task2", "path1")
    call(saver, "put_writes", stored, [("c", 3)], "task1", "path2")
    call(saver, "put_writes", stored, [("d", 4)], "task0", "")
    call(saver, "put_writes", stored, [("b", "again"), ("a", "again"), ("new", 5)], "task2", "path1")
    call(saver, "put_writes", stored, [(ERROR, "first")], "task1", "path2")
    call(saver, "put_writes", stored, [(ERROR, "second"), (RESUME, ["r"])], "task1", "path2")
    assert call(saver, "get_tuple", stored).pending_writes == [
        ("task0", "d", 4),
        ("task2", "b", 1),
        ("task2", "a", 2),
        ("task2", "new", 5),
        ("task1", RESUME, ["r"]),
        ("task1", ERROR, "second"),
        ("task1", "c", 3),
    ]


def test_writes_before_their_checkpoint(saver: UpstashRedisSaver, call: Call) -> None:
    checkpoint = empty_checkpoint()
    call(saver, "put_writes", config_of(checkpoint_id=checkpoint["id"]), [("x", 1)], "task")
    assert call(saver, "get_tuple", config_of()) is None
    call(saver, "put", config_of(), checkpoint, {}, {})
    assert call(saver, "get_tuple", config_of()).pending_writes == [("task", "x", 1)]


def test_the_newest_of_many_writes_is_found(saver: UpstashRedisSaver, either: Call) -> None:
    stored = put(either, saver, config_of(), {"x": 1})
    for number in range(250):
        either(saver, "put_writes", stored, [("x", number)], f"task{number:03}")
    assert len(either(saver, "get_tuple", config_of()).pending_writes) == 250
    assert len(listed(either, saver, config_of())[0].pending_writes) == 250


def test_listing(saver: UpstashRedisSaver, call: Call) -> None:
    configs = [
        put(call, saver, config_of("t", name), {"n": number}, number=number) for number, name in enumerate("abab")
    ]
    put(call, saver, config_of("other"), {"n": 9})
    thread = {"configurable": {"thread_id": "t"}}

    def numbers(config: Any, **options: Any) -> list[int]:
        return [found.checkpoint["channel_values"]["n"] for found in listed(call, saver, config, **options)]

    assert numbers(thread) == [3, 2, 1, 0]
    assert numbers(thread, limit=2) == [3, 2]
    assert numbers(thread, limit=0) == []
    assert numbers(thread, limit=1) == [3]
    assert numbers(thread, limit=1, before=configs[3]) == [2]
    assert numbers(thread, limit=1, before=configs[0]) == []
    assert numbers(thread, before=configs[2]) == [1, 0]
    assert numbers(thread, filter={"number": 1}) == [1]
    assert numbers(thread, filter={"number": 1}, limit=1) == [1]
    assert numbers(thread, filter={"nothing": 1}) == []
    assert numbers(config_of("t", "a")) == [2, 0]
    assert numbers(config_of("t", "a"), limit=1) == [2]
    assert numbers(config_of("t", "a"), limit=1, before=configs[2]) == [0]
    assert numbers(configs[1]) == [1]
    assert numbers(configs[1], before=configs[0]) == []
    assert sorted(numbers(None)) == [0, 1, 2, 3, 9]
    assert len(numbers(None, limit=3)) == 3
    assert numbers(config_of("nothing")) == []


class Model(BaseModel):
    name: str


@dataclasses.dataclass
class Data:
    number: int


class Kind(enum.Enum):
    ONE = 1


@pytest.mark.parametrize("value", [Model(name="x"), Data(7), Kind.ONE, [Model(name="x")], {"in": {"a": Data(1)}}])
def test_types_that_are_not_known_to_be_harmless(
    upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, value: Any
) -> None:
    stored = put(call, saver, config_of(), {"x": value, "safe": HumanMessage("x")})
    with pytest.raises(TypeNotAllowed, match="allowed_types=") as caught:
        call(saver, "get_tuple", config_of())
    assert caught.value.types[0][0] == __name__
    with pytest.raises(TypeNotAllowed):
        listed(call, saver, config_of())
    allowed = UpstashRedisSaver(upstash.url, upstash.token, allowed_types=[Model, Data, (__name__, "Kind")])
    assert values(call, allowed, stored) == {"x": value, "safe": HumanMessage("x")}
    assert (
        values(call, saver.with_allowlist([(__name__, "Model"), (__name__, "Data"), (__name__, "Kind")]), stored)["x"]
        == value
    )  # type: ignore[arg-type]


def test_a_value_that_cannot_be_stored(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    for value in (object(), [object()], {"x": lambda: 1}):
        with pytest.raises(UnstorableValue, match=r"'x'.*Nothing was sent"):
            put(call, saver, config_of(), {"x": value})
        with pytest.raises(UnstorableValue):
            call(saver, "put_writes", config_of(checkpoint_id="1"), [("x", value)], "task")
    assert upstash.stats.requests == 0


class Cipher:
    """AES with a random nonce."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(12)
        return "aes", nonce + self._cipher.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        try:
            return self._cipher.decrypt(ciphertext[:12], ciphertext[12:], None)
        except Exception as error:
            raise ValueError("wrong key") from error


def test_encryption_stores_nothing_readable_and_only_what_is_new(upstash: LocalUpstash, call: Call, run: Run) -> None:
    serde = EncryptedSerializer(Cipher(b"k" * 32), JsonPlusSerializer())
    many = [HumanMessage("secret " + "x" * 400, id=str(number)) for number in range(200)]
    saver = UpstashRedisSaver(upstash.url, upstash.token, serde=serde)
    first = put(call, saver, config_of(), {"messages": many})
    assert values(call, saver, first) == {"messages": many}
    cold = UpstashRedisSaver(upstash.url, upstash.token, serde=serde)
    call(cold, "get_tuple", config_of())
    before = upstash.stats
    put(call, cold, first, {"messages": [*many, HumanMessage("one more")]})
    assert (upstash.stats - before).bytes_received < 2500
    assert values(call, cold, config_of())["messages"][-1].content == "one more"
    assert "c2VjcmV0" not in str(run("HGETALL", "checkpoints:t:h"))
    other = UpstashRedisSaver(
        upstash.url, upstash.token, serde=EncryptedSerializer(Cipher(b"o" * 32), JsonPlusSerializer())
    )
    with pytest.raises(CorruptCheckpoint, match="wrong key"):
        call(other, "get_tuple", config_of())


def test_a_read_only_token(call: Call) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        _reads_and_does_not_write(upstash, call)


def _reads_and_does_not_write(upstash: LocalUpstash, call: Call) -> None:
    saver = UpstashRedisSaver(upstash.url, upstash.token)
    stored = put(call, saver, config_of(), {"x": [1, 2]}, source="input")
    call(saver, "put_writes", stored, [("x", 1)], "task")
    reader = UpstashRedisSaver(upstash.url, "reader")
    assert values(call, reader, config_of()) == {"x": [1, 2]}
    assert len(listed(call, reader, config_of())) == 1
    assert [thread.thread_id for thread in call(reader, "list_threads").threads] == ["t"]
    assert call(reader, "get_delta_channel_history", config=stored, channels=["x"]) == {"x": {"writes": []}}
    for attempt in (
        lambda: put(call, reader, stored, {"x": 1}),
        lambda: call(reader, "put_writes", stored, [("x", 1)], "other"),
        lambda: call(reader, "delete_thread", "t"),
        lambda: call(reader, "copy_thread", "t", "u"),
    ):
        with pytest.raises(ReadOnlyToken):
            attempt()
    assert values(call, saver, config_of()) == {"x": [1, 2]}
    assert call(saver, "get_tuple", config_of("u")) is None


def test_everything_expires(upstash: LocalUpstash, call: Call, run: Run) -> None:
    saver = UpstashRedisSaver(upstash.url, upstash.token, ttl=1)
    config = config_of()
    config["configurable"]["user_id"] = "u"
    stored = put(call, saver, config, {"messages": MESSAGES}, run_id="r")
    call(saver, "put_writes", stored, [("x", 1), (INTERRUPT, 1)], "task")
    call(saver, "copy_thread", "t", "copy")
    assert len(call(saver, "list_threads", user_id="u").threads) == 2
    keys = run("KEYS", "*")
    assert len(keys) == 7
    assert all(0 < run("PTTL", key) <= 2000 for key in keys)
    deadline = time.monotonic() + 20
    while run("DBSIZE") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run("KEYS", "*") == []
    assert call(saver, "get_tuple", config_of()) is None
    assert call(saver, "list_threads").threads == []


def test_a_read_restarts_the_ttl_only_if_asked(upstash: LocalUpstash, call: Call, run: Run) -> None:
    put(call, UpstashRedisSaver(upstash.url, upstash.token, ttl=100), config_of(), {"x": 1})
    call(UpstashRedisSaver(upstash.url, upstash.token, ttl=1000), "get_tuple", config_of())
    assert run("TTL", "checkpoints:t:h") <= 100
    call(UpstashRedisSaver(upstash.url, upstash.token, ttl=1000, refresh_ttl_on_read=True), "get_tuple", config_of())
    assert run("TTL", "checkpoints:t:h") > 900 < run("TTL", "checkpoints:t:z")


@pytest.mark.parametrize("gone", ["delete", "expire", "prune"])
def test_a_thread_that_is_gone_in_mid_run_is_stored_whole(
    upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, run: Run, gone: str
) -> None:
    many = [HumanMessage("x" * 200, id=str(number)) for number in range(50)]
    first = put(call, saver, config_of(), {"messages": many, "other": "kept"})
    if gone == "prune":
        put(call, saver, first, {"messages": many[:1]})
        call(UpstashRedisSaver(upstash.url, upstash.token), "prune", ["t"])
        assert call(saver, "get_tuple", first) is None
    else:
        run("DEL", "checkpoints:t:h", "checkpoints:t:z") if gone == "expire" else call(
            UpstashRedisSaver(upstash.url, upstash.token), "delete_thread", "t"
        )
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"messages": [*many, HumanMessage("more")], "other": "kept"}
    checkpoint["channel_versions"] = {"messages": "0000000002.x", "other": "0000000001.x"}
    call(saver, "put", first, checkpoint, {}, {"messages": "0000000002.x"})
    cold = UpstashRedisSaver(upstash.url, upstash.token)
    assert values(call, cold, config_of()) == checkpoint["channel_values"]


def test_values_over_the_size_of_a_request(upstash: LocalUpstash, call: Call) -> None:
    store = Store(upstash.url, upstash.token, max_request_bytes=100_000)
    saver = UpstashRedisSaver(store=store)
    large = os.urandom(300_000).hex()
    many = [os.urandom(10_000).hex() for _ in range(30)]
    stored = put(call, saver, config_of(), {"large": large, "many": many, "in": [large, "small"]})
    call(saver, "put_writes", stored, [("large", large), (RESUME, large)], "task")
    assert max(request.bytes_received for request in upstash.log) < 100_000
    for found in (call(UpstashRedisSaver(store=store), "get_tuple", config_of()), listed(call, saver, config_of())[0]):
        assert found.checkpoint["channel_values"] == {"large": large, "many": many, "in": [large, "small"]}
        assert found.pending_writes == [("task", RESUME, large), ("task", "large", large)]
    put(call, saver, stored, {"large": large, "many": many, "in": ["small"]})
    call(saver, "prune", ["t"])
    assert values(call, UpstashRedisSaver(store=store), config_of())["large"] == large


def test_a_large_thread_is_said(
    upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_module, "LARGE_THREAD_BYTES", 10_000)
    first = put(call, saver, config_of(), {"x": "small"})
    with pytest.warns(LargeThreadWarning, match=r"'t'.*prune"):
        second = put(call, saver, first, {"x": os.urandom(10_000).hex()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(call, saver, second, {"x": "small"})


def test_damaged_and_newer_checkpoints(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    stored = put(call, saver, config_of(), {"messages": MESSAGES})
    (member,) = run("ZRANGE", "checkpoints:t:z", 0, -1)
    text = run("HGET", "checkpoints:t:h", member)
    for damaged, error in (
        (text.replace('"f":1', '"f":2'), UnsupportedCheckpoint),
        (text.replace("{", "", 1), CorruptCheckpoint),
        (text.partition("\n")[0], CorruptCheckpoint),
        (text.replace("msgpack~", "msgpack~AAAA"), CorruptCheckpoint),
    ):
        run("HSET", "checkpoints:t:h", member, damaged)
        with pytest.raises(error):
            listed(call, saver, config_of())
        if damaged.startswith("{"):
            with pytest.raises(error):
                call(saver, "get_tuple", config_of())
    run("HSET", "checkpoints:t:h", member, text)
    element = next(field for field in run("HKEYS", "checkpoints:t:h") if field.endswith(".0"))
    run("HDEL", "checkpoints:t:h", element)
    with pytest.raises(CorruptCheckpoint, match="'messages' is missing"):
        call(saver, "get_tuple", stored)


def test_a_key_of_another_kind(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call, run: Run) -> None:
    run("SET", "checkpoints:t:h", "x")
    with pytest.raises(Exception, match="checkpoints:t:h"):
        put(call, saver, config_of(), {"x": 1})


def test_only_what_is_new_is_sent(upstash: LocalUpstash, saver: UpstashRedisSaver, call: Call) -> None:
    messages: list[Any] = [HumanMessage(f"{number} " + os.urandom(100).hex(), id=str(number)) for number in range(1000)]
    files = {f"/{number}.txt": os.urandom(500).hex() for number in range(200)}
    numbers = list(range(5000))
    config = put(call, saver, config_of(), {"messages": messages, "files": files, "numbers": numbers})

    def sent(config: Any) -> tuple[Any, int]:
        before = upstash.stats
        stored = put(call, saver, config, {"messages": messages, "files": files, "numbers": numbers})
        return stored, (upstash.stats - before).bytes_received

    config, size = sent(config)
    assert size < 2000
    messages.append(HumanMessage("one more"))
    files["/new.txt"] = "new"
    numbers.append(7)
    config, size = sent(config)
    assert size < 3000
    del messages[100], files["/7.txt"], numbers[2000]
    config, size = sent(config)
    assert size < 3000
    messages.insert(0, HumanMessage("at the beginning"))
    numbers.insert(0, 8)
    config, size = sent(config)
    assert size < 3500
    messages[500].content = "changed in place"
    config, size = sent(config)
    assert size < 3500
    assert values(call, UpstashRedisSaver(upstash.url, upstash.token), config) == {
        "messages": messages,
        "files": files,
        "numbers": numbers,
    }
    assert list(values(call, saver, config)["files"]) == list(files)


def test_it_is_shared_by_copies_and_shows_no_token(upstash: LocalUpstash, saver: UpstashRedisSaver) -> None:
    assert upstash.token not in repr(saver)
    assert "***" in repr(saver)
    store = Store(upstash.url, upstash.token)
    with UpstashRedisSaver(store=store) as owner:
        assert owner.get_tuple(config_of()) is None


def test_from_env(upstash_environment: LocalUpstash, call: Call) -> None:
    saver = UpstashRedisSaver.from_env(ttl=60)
    put(call, saver, config_of(), {"x": 1})
    assert values(call, saver, config_of()) == {"x": 1}


def test_it_is_pickled_without_the_token(upstash_environment: LocalUpstash) -> None:
    saver = UpstashRedisSaver.from_env(ttl=60, key_prefix="p:")
    data = pickle.dumps(saver)
    assert upstash_environment.token.encode() not in data
    loaded = pickle.loads(data)
    assert repr(loaded) == repr(saver)
    assert loaded.get_tuple(config_of()) is None
