"""The cache of snapshots: what it evicts, and its count of bytes, whatever interrupts it."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstash.history.cache import cache as module
from chatstash.history.cache.cache import ReadCache
from chatstash.history.cache.snapshot import Snapshot
from chatstash.history.records.encoding import encode
from chatstash.history.records.record import Record, new_record_ids

LIMIT = 20_000


class Interrupted(BaseException):
    """What comes from elsewhere."""


def of_size(size: int, count: int = 1) -> Snapshot:
    (rid,) = new_record_ids(1, time_ms=1, randomness=b"abcdef")
    anchor = encode(Record("human", {"content": "x" * size}, rid)).encode()
    return Snapshot([b"x" * size] * (count - 1) + [anchor], count)


STEPS: dict[str, Callable[[ReadCache], object]] = {
    "put": lambda cache: cache.put("new", of_size(5000), hit=True),
    "put and evict": lambda cache: cache.put("new", of_size(15_000), hit=False),
    "replace": lambda cache: cache.put("a", of_size(100), hit=False),
    "forget": lambda cache: cache.put("a", None, hit=False),
    "get": lambda cache: cache.get("a"),
    "note": lambda cache: cache.note_append("a", 2),
    "stats": lambda cache: cache.stats(),
    "clear": lambda cache: cache.clear(),
}


def _filled() -> ReadCache:
    cache = ReadCache(LIMIT)
    for key in "abc":
        cache.put(key, of_size(5000), hit=False)
    return cache


@contextmanager
def _at_line(number: int, act: Callable[[], object]) -> Iterator[list[int]]:
    """Do something before the line of that number, counted from 0, that runs within the cache."""
    lines: list[int] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == number + 1:
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


def _check(cache: ReadCache) -> None:
    """What is counted is what is held, and the next read brings it below the limit."""
    cache.put("next", of_size(10), hit=False)
    held = {key: cache.get(key) for key in ("a", "b", "c", "new", "next", "handler")}
    sizes = [module._size(key, value) for key, value in held.items() if value is not None]
    assert (cache.stats().conversations, cache.stats().bytes) == (len(sizes), sum(sizes))
    assert sum(sizes) <= LIMIT
    cache.clear()
    assert (cache.stats().conversations, cache.stats().bytes) == (0, 0)


def _lines_of(step: Callable[[ReadCache], object]) -> int:
    with _at_line(-1, lambda: None) as lines:
        step(_filled())
    return len(lines)


@pytest.mark.parametrize("name", STEPS)
def test_an_exception_at_any_line_leaves_the_count_right(name: str) -> None:
    for number in range(_lines_of(STEPS[name])):
        cache = _filled()

        def interrupt() -> None:
            raise Interrupted

        with _at_line(number, interrupt), suppress(Interrupted):
            STEPS[name](cache)
        _check(cache)


@pytest.mark.parametrize("name", STEPS)
def test_a_handler_at_any_line_may_use_the_cache(name: str) -> None:
    for number in range(_lines_of(STEPS[name])):
        cache = _filled()

        def handle(cache: ReadCache = cache) -> None:
            sys.settrace(None)
            for step in STEPS.values():
                step(cache)
            cache.put("handler", of_size(3000), hit=False)

        with _at_line(number, handle):
            STEPS[name](cache)
        _check(cache)


def _release(cache: ReadCache) -> None:
    """Release a lock that Python left held: before 3.15, as https://github.com/python/cpython/issues/148874 says."""
    if sys.version_info >= (3, 14):
        with suppress(RuntimeError):
            cache._lock.release()


def test_exceptions_from_another_thread_leave_the_count_right() -> None:
    cache = _filled()
    done = threading.Event()
    interrupted = []

    def use() -> None:
        while not done.is_set():
            with suppress(Interrupted):
                while not done.is_set():
                    interrupted.clear()
                    for step in STEPS.values():
                        step(cache)
            _release(cache)

    def outlast() -> None:
        while not done.is_set():
            with suppress(Interrupted):
                use()
            _release(cache)

    thread = threading.Thread(target=outlast)
    thread.start()
    for _ in range(100):
        interrupted.append(True)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted))
        while interrupted:
            time.sleep(0.0001)
    done.set()
    thread.join()
    _check(cache)


def test_the_least_recently_used_are_evicted_first() -> None:
    cache = ReadCache(35_000)
    for key in "abc":
        cache.put(key, of_size(10_000), hit=False)
    assert cache.get("a") is not None
    cache.put("d", of_size(10_000), hit=False)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert 30_000 < cache.stats().bytes <= 35_000


def test_what_is_larger_than_the_cache_leaves_the_rest_in_it() -> None:
    cache = ReadCache(35_000)
    cache.put("a", of_size(10_000), hit=False)
    cache.put("b", of_size(40_000), hit=False)
    assert (cache.get("a") is not None, cache.get("b")) == (True, None)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(200, 3000), st.booleans()), max_size=30))
def test_the_count_of_bytes_is_right(steps: list[tuple[str, int | None, bool]]) -> None:
    cache = ReadCache(9000)
    for key, size, hit in steps:
        cache.put(key, None if size is None else of_size(size, 3), hit=hit)
        assert cache.stats().bytes <= 9000
    assert cache.stats().hits == sum(hit for _, _, hit in steps)
    assert cache.stats().misses == sum(not hit for _, _, hit in steps)
    cache.clear()
    assert (cache.stats().conversations, cache.stats().bytes) == (0, 0)


def test_an_addition_looks_at_few_of_the_other_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(ReadCache, "_size", lambda cache: counted.append(len(cache._cached)) or _sum(cache))
    cache = ReadCache(2**30)
    for number in range(5000):
        cache.put(f"{number % 1000}", of_size(100), hit=False)
    assert sum(counted) < 5 * 5000


def _sum(cache: ReadCache) -> int:
    return sum(cached.size for cached in cache._cached.values())
