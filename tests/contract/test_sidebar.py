"""The list of sessions beside writers, renames, expiry and deletions; and its cost, however long it is."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from chatstash import Record, Store
from chatstash.history.records.index import IndexKeys, fields_of, index_keys
from chatstash.history.records.keys import owner_of
from chatstash.local import LocalUpstash, limits_of
from tests.conftest import Call, call_async, call_sync, command

HI = [Record("human", {"content": "hi"})]
_users = count()


class Step(NamedTuple):
    """What is done to a session, and by which of the stores."""

    what: str
    session: int
    store: int


@pytest.fixture(scope="module")
def server() -> Iterator[LocalUpstash]:
    with LocalUpstash() as upstash:
        yield upstash


@pytest.fixture
def stores(server: LocalUpstash) -> Iterator[list[Store]]:
    stores = [Store(server.url, server.token, ttl=ttl) for ttl in (None, None, 3600, 7200)]
    yield stores
    for store in stores:
        store.close()


def _keys(user_id: str) -> IndexKeys:
    return index_keys(owner_of("message_store:", user_id))


def _walk(store: Store, user_id: str, limit: int, call: Call = call_sync) -> list[str]:
    """Return the ids of all pages, each of which is full but the last."""
    seen: list[str] = []
    cursor = None
    while True:
        page = call(store, "list_sessions", user_id=user_id, limit=limit, cursor=cursor)
        assert page.cost.requests == 1
        seen += [session.session_id for session in page.sessions]
        if (cursor := page.next_cursor) is None:
            return seen
        assert len(page.sessions) == limit


steps = st.lists(
    st.builds(
        Step, st.sampled_from(["append", "append", "append", "title", "expire", "delete"]),
        st.integers(0, 9), st.integers(0, 3),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=40)
@given(steps=steps, limit=st.integers(1, 11), colour=st.sampled_from([call_sync, call_async]))
def test_the_list_is_in_the_order_of_the_last_appends(
    server: LocalUpstash, steps: list[Step], limit: int, colour: Call
) -> None:
    stores = [Store(server.url, server.token, ttl=ttl) for ttl in (3600, 3600, 7200, 9000)]
    user_id, expected, titles = f"user-{next(_users)}", list[str](), dict[str, str]()
    for number, (what, session, at) in enumerate(steps):
        name, store = f"s{session}", stores[at]
        match what:
            case "append":
                assert colour(store.session(name, user_id=user_id), "append", HI).indexed
                expected = [name, *(each for each in expected if each != name)]
                titles.setdefault(name, "hi")
            case "title" if name in expected:
                titles[name] = str(number)
                colour(store, "update_session", name, user_id=user_id, title=str(number))
            case "expire":
                # As HEXPIRE does when its time comes, and EXPIRE.
                command(server, "HDEL", _keys(user_id).info, *fields_of(name))
                command(server, "DEL", store.session(name, user_id=user_id).key)
            case "delete":
                colour(store, "delete_session", name, user_id=user_id)
        if what in ("expire", "delete"):
            expected = [each for each in expected if each != name]
            titles.pop(name, None)
    for store in stores:
        assert _walk(store, user_id, limit, colour) == expected
    found = stores[0].list_sessions(user_id=user_id).sessions
    assert {session.session_id: session.title for session in found} == titles
    assert command(server, "ZCARD", _keys(user_id).expiring) == len(expected)
    for store in stores:
        store.close()


def test_writers_in_threads_and_tasks_lose_no_session(server: LocalUpstash, stores: list[Store]) -> None:
    user_id = f"user-{next(_users)}"
    idle = [f"idle{number}" for number in range(20)]
    for name in idle:
        stores[0].session(name, user_id=user_id).append(HI)
    done = threading.Event()

    def write(number: int) -> None:
        chosen = random.Random(number)
        for _ in range(30):
            name = f"s{chosen.randrange(12)}"
            assert stores[number % 4].session(name, user_id=user_id).append(HI).indexed

    async def write_in_tasks() -> None:
        async with Store(server.url, server.token, ttl=3600) as store:
            sessions = [store.session(f"s{number % 12}", user_id=user_id) for number in range(60)]
            results = await asyncio.gather(*(session.aappend(HI) for session in sessions))
            assert all(result.indexed for result in results)

    def walk() -> None:
        while not done.is_set():
            seen = _walk(stores[3], user_id, 3)
            assert [name for name in seen if name in idle] == idle[::-1]

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    writers.append(threading.Thread(target=asyncio.run, args=(write_in_tasks(),)))
    failures: list[Any] = []
    hook, threading.excepthook = threading.excepthook, failures.append
    walker = threading.Thread(target=walk)
    try:
        for thread in (walker, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        walker.join()
    finally:
        threading.excepthook = hook
    assert not failures
    names = [f"s{number}" for number in range(12)]
    assert sorted(_walk(stores[0], user_id, 5)) == sorted([*idle, *names])
    random.Random(0).shuffle(names)
    for number, name in enumerate(names):
        stores[number % 4].session(name, user_id=user_id).append(HI)
    assert _walk(stores[1], user_id, 7) == [*names[::-1], *idle[::-1]]


def _pipeline(server: LocalUpstash, commands: list[list[str | int]]) -> None:
    headers = {"authorization": f"Bearer {server.token}"}
    reply = urllib3.request("POST", f"{server.url}/pipeline", json=commands, headers=headers, retries=False)
    assert all("error" not in each for each in reply.json())


def _fill(server: LocalUpstash, user_id: str, size: int, *, expired: int = 0) -> None:
    """Write an index of sessions `s1`, `s2` and so on, the newest of which have expired."""
    keys = _keys(user_id)
    for first in range(1, size + 1, 1000):
        numbers = range(first, min(first + 1000, size + 1))
        scores: list[str | int] = [word for each in numbers for word in (10**15 + each, f"s{each:06}")]
        fields: list[str | int] = [
            word for each in numbers if each <= size - expired for word in (f"ss{each:06}", f"{10**12} T")
        ]
        _pipeline(server, [["ZADD", keys.lasting, *scores]])
        if fields:
            _pipeline(server, [["HSET", keys.info, *fields]])


@pytest.mark.parametrize("size", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_page_costs_the_same_however_long_the_list_is(
    server: LocalUpstash, stores: list[Store], call: Call, size: int
) -> None:
    costs = []
    stores[0].list_sessions()  # the first use of a script sends all of it
    for user_id, many in ((f"user-{next(_users)}", 100), (f"user-{next(_users)}", size)):
        _fill(server, user_id, many)
        first = call(stores[0], "list_sessions", user_id=user_id)
        second = call(stores[0], "list_sessions", user_id=user_id, cursor=first.next_cursor)
        assert [page.sessions[0].session_id for page in (first, second)] == [f"s{many:06}", f"s{many - 50:06}"]
        costs.append([page.cost for page in (first, second)])
    assert [(cost.requests, cost.commands) for cost in costs[0]] == [(1, 4), (1, 6)]
    for small, large in zip(*costs, strict=True):
        assert small[:2] == large[:2]
        assert large.bytes_received == small.bytes_received
        assert abs(large.bytes_sent - small.bytes_sent) < 20  # the ids of users differ in length


def test_pages_of_ten_thousand_sessions_hold_each_once(server: LocalUpstash, stores: list[Store]) -> None:
    user_id = f"user-{next(_users)}"
    _fill(server, user_id, 10_000)
    assert _walk(stores[0], user_id, 1000) == [f"s{number:06}" for number in range(10_000, 0, -1)]


@pytest.mark.parametrize("limit", [1, 50, 1000])
def test_thousands_that_expired_cost_a_few_commands_and_are_forgotten(
    server: LocalUpstash, stores: list[Store], limit: int
) -> None:
    user_id = f"user-{next(_users)}"
    _fill(server, user_id, 10_000, expired=9_000)
    before = server.stats.billed_commands
    page = stores[0].list_sessions(user_id=user_id, limit=limit)
    assert [session.session_id for session in page.sessions] == [f"s{number:06}" for number in range(1000, 0, -1)][
        :limit
    ]
    assert server.stats.billed_commands - before == page.cost.commands
    assert page.cost.commands < 50
    assert command(server, "ZCARD", _keys(user_id).lasting) == 1000


def test_a_page_of_large_metadata_is_shorter(call: Call) -> None:
    with (
        LocalUpstash(plan=limits_of("payg", max_request_bytes=300_000)) as upstash,
        Store(upstash.url, upstash.token) as store,
    ):
        for number in range(12):
            store.session(f"s{number:02}", user_id="u").append(HI)
            store.update_session(f"s{number:02}", user_id="u", metadata={"large": "x" * 60_000})
        seen: list[str] = []
        cursor = None
        while cursor or not seen:
            page = call(store, "list_sessions", user_id="u", cursor=cursor)
            seen += [session.session_id for session in page.sessions]
            cursor = page.next_cursor
        assert seen == [f"s{number:02}" for number in range(11, -1, -1)]


def test_sessions_of_one_moment_are_each_on_one_page(server: LocalUpstash, stores: list[Store]) -> None:
    user_id = f"user-{next(_users)}"
    keys = _keys(user_id)
    for number in range(50):
        command(server, "ZADD", (keys.lasting, keys.expiring)[number % 2], 10**15, f"s{number:02}")
        command(server, "HSET", keys.info, f"cs{number:02}", 10**12)
    for limit in (1, 3, 49, 50):
        assert _walk(stores[0], user_id, limit) == [f"s{number:02}" for number in range(49, -1, -1)]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_hundred_thousand_users(server: LocalUpstash, stores: list[Store], call: Call) -> None:
    for first in range(0, 100_000, 500):
        commands: list[list[str | int]] = []
        for number in range(first, first + 500):
            keys = _keys(f"many-{number}")
            commands += [["ZADD", keys.lasting, 10**15, "s"], ["HSET", keys.info, "ss", f"{10**12} {number}"]]
        _pipeline(server, commands)
    for number in (0, 50_000, 99_999):
        page = call(stores[0], "list_sessions", user_id=f"many-{number}")
        assert ([session.title for session in page.sessions], page.cost.commands) == ([str(number)], 4)
