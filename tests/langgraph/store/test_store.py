"""UpstashRedisStore: the same as InMemoryStore where that decides; ttl, costs, faults and ids of any kind."""

from __future__ import annotations

import os
import pickle
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("langgraph.store.base", reason="langgraph-checkpoint is not installed; make test installs it")

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from chatstash import Budget, CorruptItem, ReadOnlyToken, RetryPolicy, Store, UnstorableValue, UnsupportedItem
from chatstash.langgraph import UpstashRedisStore
from chatstash.local import Fault, LocalUpstash
from tests.conftest import Call

Run = Callable[..., Any]


@pytest.fixture
def store(upstash: LocalUpstash) -> UpstashRedisStore:
    return UpstashRedisStore(upstash.url, upstash.token)


def plain(result: Any) -> Any:
    """Return a result without its times."""
    if isinstance(result, list):
        return [plain(one) for one in result]
    return result if result is None or isinstance(result, tuple) else (result.namespace, result.key, result.value)


LABELS = ["a", "b", "ab", "ü 🦊", "x:n", "*", "%", "!", "/"]
KEYS = ["k", "v", "c", "", "k:1", "a.b", "\0", "🦊", "k" * 300]


def random_op(at: random.Random) -> Any:
    namespace = tuple(at.choice(LABELS[:5]) for _ in range(at.randint(1, 3)))
    kind = at.random()
    if kind < 0.45:
        value = at.choice([{"n": at.randrange(5)}, {"n": None, "s": "x"}, {"in": {"list": [1, {"a": "b"}]}, "n": 2.5}])
        return PutOp(namespace, at.choice(KEYS), value)
    if kind < 0.55:
        return PutOp(namespace, at.choice(KEYS), None)
    if kind < 0.75:
        return GetOp(namespace, at.choice(KEYS))
    if kind < 0.9:
        wanted = at.choice(
            [None, {"n": 2}, {"n": {"$ne": 2}}, {"in": {"list": [1, {"a": "b"}]}}, {"s": {"$eq": "x"}}, {"zz": 1}]
        )
        return SearchOp(namespace[: at.randint(0, 3)], wanted, limit=1000)
    conditions = at.choice(
        [(), (MatchCondition("prefix", namespace[:1]),), (MatchCondition("suffix", ("*", namespace[-1])),)]
    )
    return ListNamespacesOp(conditions, at.choice([None, 1, 2]), limit=1000)


def comparable(op: Any, result: Any) -> Any:
    if isinstance(op, SearchOp):
        # The other store orders namespaces by their first use.
        return sorted(plain(result), key=repr)
    return plain(result)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_like_the_store_in_memory(store: UpstashRedisStore, either: Call, seed: int) -> None:
    at = random.Random(seed)
    reference = InMemoryStore()
    for _ in range(25):
        ops = [random_op(at) for _ in range(at.randint(1, 8))]
        ours, theirs = either(store, "batch", ops), reference.batch(ops)
        # The other store goes on listing a namespace that has lost its items.
        for namespace in [name for name, items in reference._data.items() if not items]:
            del reference._data[namespace]
        theirs = [
            reference.batch([op])[0] if isinstance(op, ListNamespacesOp) else one
            for op, one in zip(ops, theirs, strict=True)
        ]
        if any(isinstance(op, ListNamespacesOp) for op in ops) and any(isinstance(op, PutOp) for op in ops):
            ours = [
                either(store, "batch", [op])[0] if isinstance(op, ListNamespacesOp) else one
                for op, one in zip(ops, ours, strict=True)
            ]
        for op, one, other in zip(ops, ours, theirs, strict=True):
            assert comparable(op, one) == comparable(op, other), op


def test_items_of_a_namespace_come_in_the_order_in_which_they_were_created(
    store: UpstashRedisStore, call: Call
) -> None:
    names = [f"k{number}" for number in random.Random(1).sample(range(200), 200)]
    for at in range(0, 200, 50):
        call(store, "batch", [PutOp(("a", "b"), name, {"n": name}) for name in names[at : at + 50]])
    call(store, "put", ("a", "b"), names[0], {"n": "changed"})
    found = call(store, "search", ("a",), limit=1000)
    assert [item.key for item in found] == names
    assert [item.key for item in call(store, "search", ("a", "b"), limit=7, offset=90)] == names[90:97]
    assert call(store, "search", ("a", "b"), limit=7, offset=500) == []


def test_times(store: UpstashRedisStore, call: Call) -> None:
    before = datetime.now(UTC)
    call(store, "put", ("a",), "k", {"n": 1})
    first = call(store, "get", ("a",), "k")
    call(store, "put", ("a",), "k", {"n": 2})
    second = call(store, "get", ("a",), "k")
    assert before <= first.created_at == first.updated_at <= datetime.now(UTC)
    assert second.created_at == first.created_at < second.updated_at
    call(store, "delete", ("a",), "k")
    call(store, "put", ("a",), "k", {"n": 3})
    assert call(store, "get", ("a",), "k").created_at > second.updated_at


def test_a_batch_is_one_request(upstash: LocalUpstash, store: UpstashRedisStore, call: Call) -> None:
    def cost(ops: list[Any]) -> tuple[int, int]:
        before = upstash.stats
        call(store, "batch", ops)
        used = upstash.stats - before
        return used.requests, used.billed_commands

    puts = [PutOp(("a", "b"), f"k{number}", {"n": number}) for number in range(20)]
    assert cost(puts) == (1, 60)
    assert cost([GetOp(("a", "b"), "k1"), GetOp(("a", "b"), "k2")]) == (1, 2)
    assert cost([SearchOp(("a", "b"))]) == (1, 3)
    assert cost([SearchOp(("a", "b")), GetOp(("a", "b"), "k1"), puts[0], PutOp(("a", "b"), "k2", None)]) == (1, 10)
    assert cost([SearchOp(("a",))]) == (2, 4)
    assert cost([ListNamespacesOp()]) == (2, 4)
    assert cost([PutOp(("t",), "k", {"n": 1}, ttl=5)]) == (1, 6)
    assert cost([]) == (0, 0)


@pytest.mark.parametrize("label", LABELS)
def test_no_name_reaches_another(store: UpstashRedisStore, either: Call, label: str) -> None:
    namespaces = [(label,), (label, label), (label + "x",), ("x", label)]
    places = [(namespace, key + end) for namespace in namespaces for key in KEYS for end in ("", "x")]
    either(store, "batch", [PutOp(*place, {"n": number}) for number, place in enumerate(places)])
    found = either(store, "batch", [GetOp(*place) for place in places])
    assert [item.value["n"] for item in found] == list(range(len(places)))
    below = {item.namespace for item in either(store, "search", (label,), limit=1000)}
    assert below == {(label,), (label, label)}


def test_invalid_operations_are_refused_before_anything_is_sent(
    upstash: LocalUpstash, store: UpstashRedisStore, call: Call
) -> None:
    good = PutOp(("a",), "k", {"n": 1})
    for bad, error in (
        (PutOp(("a.b",), "k", {}), InvalidNamespaceError),
        (PutOp(("",), "k", {}), InvalidNamespaceError),
        (PutOp(("a",), 7, {}), ValueError),  # type: ignore[arg-type]
        (PutOp(("a",), "\ud800", {}), ValueError),
        (PutOp(("\ud800",), "k", {}), ValueError),
        (PutOp(("a" * 40_000,), "k", {}), ValueError),
        (PutOp(("a",), "k", {"x": object()}), UnstorableValue),
        (PutOp(("a",), "k", {"x": "\ud800"}), UnstorableValue),
        (PutOp(("a",), "k", {"x": "x" * 6_000_000}), UnstorableValue),
        (PutOp(("a",), "k", {}, ttl=0), ValueError),
        (SearchOp(("a",), query="meaning"), NotImplementedError),
        (SearchOp(("a",), {"n": {"$in": [1]}}), ValueError),
        (SearchOp(("a",), limit=-1), ValueError),
        (ListNamespacesOp(offset=-1), ValueError),
        ("nonsense", ValueError),
    ):
        with pytest.raises(error):
            call(store, "batch", [good, bad])
    with pytest.raises(InvalidNamespaceError):
        call(store, "put", ("langgraph",), "k", {})
    for options in ({"ttl": {"default_ttl": 0}}, {"key_prefix": "chatstash:"}, {"key_prefix": 7}):
        with pytest.raises(ValueError):
            UpstashRedisStore(upstash.url, upstash.token, **options)  # type: ignore[arg-type]
    assert upstash.stats.requests == 0


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"n": {"$gt": 3}}, [4]),
        ({"n": {"$gte": 3, "$lt": 4}}, [3]),
        ({"n": {"$lte": 2}}, [1, 2]),
        ({"n": {"$gt": "3"}}, [4]),
        ({"s": {"$gt": "b"}}, [3, 4]),
        ({"missing": {"$gt": 1}}, []),
        ({"tags": ["x", {"$ne": "z"}]}, [1]),
    ],
)
def test_filters(store: UpstashRedisStore, either: Call, wanted: dict[str, Any], found: list[int]) -> None:
    for number, text in enumerate("abcd", start=1):
        tags = {"tags": ["x", "y"]} if number == 1 else {}
        either(store, "put", ("a",), text, {"n": number, "s": text, **tags})
    assert [item.value["n"] for item in either(store, "search", ("a",), filter=wanted)] == found


def test_items_expire_and_leave_nothing(upstash: LocalUpstash, call: Call, run: Run) -> None:
    store = UpstashRedisStore(upstash.url, upstash.token, ttl={"default_ttl": 0.5 / 60})
    call(store, "batch", [PutOp(("a", "b"), "short", {"n": 1}, ttl=0.5 / 60), PutOp(("c",), "long", {"n": 2}, ttl=10)])
    call(store, "put", ("d",), "default", {"n": 3})
    deadline = time.monotonic() + 20
    while len(call(store, "search", (), refresh_ttl=False)) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [item.key for item in call(store, "search", ())] == ["long"]
    assert call(store, "list_namespaces") == [("c",)]
    assert call(store, "get", ("a", "b"), "short") is None
    assert run("HPTTL", "store:c:n", "FIELDS", 1, "vlong")[0] > 500_000
    assert run("PTTL", "store::expiring") > 500_000
    assert run("ZRANGE", "store::expiring", 0, -1) == ["c"]
    call(store, "delete", ("c",), "long")
    # Valkey removes a hash a moment after its last field has expired.
    while run("KEYS", "*") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run("KEYS", "*") == []


def test_reading_restarts_the_ttl(upstash: LocalUpstash, call: Call, run: Run) -> None:
    store = UpstashRedisStore(upstash.url, upstash.token)
    call(store, "put", ("a",), "k", {"n": 1}, ttl=10)

    def remaining() -> int:
        return int(run("HPTTL", "store:a:n", "FIELDS", 1, "vk")[0])

    for read in (
        lambda **options: call(store, "get", ("a",), "k", **options),
        lambda **options: call(store, "search", ("a",), **options),
    ):
        run("HPEXPIRE", "store:a:n", 1000, "FIELDS", 2, "vk", "ck")
        read(refresh_ttl=False)
        assert remaining() <= 1000
        read()
        assert remaining() > 500_000
    quiet = UpstashRedisStore(upstash.url, upstash.token, ttl={"refresh_on_read": False})
    run("HPEXPIRE", "store:a:n", 1000, "FIELDS", 2, "vk", "ck")
    call(quiet, "get", ("a",), "k")
    assert remaining() <= 1000
    call(store, "put", ("a",), "k", {"n": 2})
    assert remaining() == -1


def test_an_index_of_lasting_items_never_expires(store: UpstashRedisStore, call: Call, run: Run) -> None:
    call(store, "put", ("a",), "k", {"n": 1}, ttl=1)
    call(store, "put", ("a",), "lasting", {"n": 1})
    call(store, "put", ("a",), "k", {"n": 1}, ttl=1)
    assert run("TTL", "store::namespaces") == -1
    assert run("TTL", "store::expiring") > 0


@pytest.mark.parametrize("kind", ["request_lost", "reply_lost", "replayed", "truncated", "unavailable"])
def test_every_fourth_request_fails(upstash: LocalUpstash, either: Call, kind: Any) -> None:
    quick = Budget(timeout=60, first_pause=0.001, longest_pause=0.002)
    store = UpstashRedisStore(store=Store(upstash.url, upstash.token, retry_policy=RetryPolicy(quick, quick, quick)))
    reference = InMemoryStore()
    upstash.faults.add(Fault(kind, probability=0.25))
    at = random.Random(7)
    created: dict[str, Any] = {}
    for _ in range(60):
        key, value = at.choice(KEYS), {"n": at.randrange(100)}
        either(store, "put", ("a",), key, value)
        reference.put(("a",), key, value)
        item = either(store, "get", ("a",), key)
        assert item.value == value
        assert created.setdefault(key, item.created_at) == item.created_at
    assert upstash.stats.faults > 5
    assert sorted(plain(either(store, "search", ("a",), limit=99))) == sorted(plain(reference.search(("a",), limit=99)))


def test_a_namespace_over_the_size_of_a_reply(upstash: LocalUpstash, call: Call) -> None:
    store = UpstashRedisStore(upstash.url, upstash.token)
    texts = {f"k{number:02}": os.urandom(500_000).hex() for number in range(24)}
    for key, text in texts.items():
        call(store, "put", ("big", "a" if key < "k12" else "b"), key, {"t": text})
    assert {item.key: item.value["t"] for item in call(store, "search", ("big",), limit=99)} == texts
    assert len(call(store, "search", ("big", "a"), limit=99)) == 12
    found = call(store, "batch", [GetOp(("big", "a"), f"k{number:02}") for number in range(12)])
    assert [item.value["t"] for item in found] == [texts[f"k{number:02}"] for number in range(12)]


def test_a_read_only_token(call: Call) -> None:
    with LocalUpstash(read_only_token="reader") as upstash:
        call(UpstashRedisStore(upstash.url, upstash.token), "put", ("a", "b"), "k", {"n": 1}, ttl=10)
        reader = UpstashRedisStore(upstash.url, "reader")
        assert call(reader, "get", ("a", "b"), "k").value == {"n": 1}
        assert len(call(reader, "search", ("a",))) == 1
        assert call(reader, "list_namespaces") == [("a", "b")]
        for attempt in (("put", ("a",), "k", {}), ("delete", ("a", "b"), "k")):
            with pytest.raises(ReadOnlyToken):
                call(reader, *attempt)
        assert call(reader, "get", ("a", "b"), "k").value == {"n": 1}


def test_damaged_and_newer_items(store: UpstashRedisStore, call: Call, run: Run) -> None:
    call(store, "put", ("a",), "k", {"n": 1})
    for text, error in (
        ('[2,1,null,{"n":1}]', UnsupportedItem),
        ("[1", CorruptItem),
        ("7", CorruptItem),
        ("[1,2]", CorruptItem),
    ):
        run("HSET", "store:a:n", "vk", text)
        with pytest.raises(error, match="'k'"):
            call(store, "get", ("a",), "k")
    with pytest.raises(Exception, match="store:x:n"):
        run("SET", "store:x:n", "text")
        call(store, "put", ("x",), "k", {})


def test_values_come_back(store: UpstashRedisStore, call: Call) -> None:
    value = {"nan": float("inf"), "big": 10**30, "text": "\0\n🦊", "nested": {"": [None, True, 1.5, []]}}
    call(store, "put", ("a",), "k", value)
    assert call(store, "get", ("a",), "k").value == value


def test_it_shows_no_token_and_can_be_pickled(upstash_environment: LocalUpstash) -> None:
    with UpstashRedisStore.from_env(key_prefix="p:") as store:
        assert upstash_environment.token not in repr(store)
        data = pickle.dumps(store)
        assert upstash_environment.token.encode() not in data
        store.put(("a",), "k", {"n": 1})
        assert pickle.loads(data).get(("a",), "k").value == {"n": 1}
    with pytest.raises(ValueError, match="not both"):
        UpstashRedisStore("http://x", store=Store.shared())


def test_a_graph_remembers_across_threads(upstash: LocalUpstash) -> None:
    pytest.importorskip("langgraph.graph")
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.runtime import Runtime

    def node(state: MessagesState, runtime: Runtime[Any]) -> dict[str, Any]:
        assert runtime.store is not None
        known = runtime.store.search(("user", "facts"))
        runtime.store.put(("user", "facts"), str(len(known)), {"text": state["messages"][-1].content})
        return {"messages": [("ai", str([item.value["text"] for item in known]))]}

    built: Any = StateGraph(MessagesState)
    built.add_node("node", node)
    built.add_edge(START, "node")
    built.add_edge("node", END)
    app = built.compile(store=UpstashRedisStore(upstash.url, upstash.token))
    app.invoke({"messages": [("human", "I like tea")]})
    assert app.invoke({"messages": [("human", "What do I like?")]})["messages"][-1].content == "['I like tea']"
