"""Conversations of any size: read whole over the server's limit, appended all at once over the size of a request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from chatstash import QuotaExceeded, RequestTooLarge, UpstashRedisChatMessageHistory
from chatstash.history.scripts.loading import SCRIPTS
from chatstash.local import Limits, LocalUpstash
from tests.conftest import Call
from tests.reliability import memory
from tests.reliability.memory import messages

Run = Callable[..., Any]


def _history(upstash: LocalUpstash, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory("large", upstash.url, upstash.token, timeout=100, **options)


def _texts(found: list[Any]) -> list[str]:
    return [message.content for message in found]


def test_12_megabytes_in_small_messages(upstash: LocalUpstash, either: Call) -> None:
    sent = messages(20_000, 600)
    either(_history(upstash, ttl=60), "add_messages", sent)
    before = upstash.stats
    assert _texts(either(_history(upstash), "messages")) == _texts(sent)
    assert (upstash.stats - before).requests < 8


def test_60_megabytes(upstash: LocalUpstash, call: Call) -> None:
    sent = messages(600, 100_000)
    call(_history(upstash), "add_messages", sent)
    result = call(_history(upstash), "read")
    assert _texts(result.messages) == _texts(sent)
    assert result.cost.requests < 16


def test_records_of_9_megabytes(upstash: LocalUpstash, either: Call) -> None:
    sent = messages(3, 9_000_000)
    either(_history(upstash), "add_messages", sent)
    assert _texts(either(_history(upstash), "messages")) == _texts(sent)


def test_an_append_of_25_megabytes_shows_all_or_nothing(upstash: LocalUpstash, call: Call, run: Run) -> None:
    history = _history(upstash, ttl=60)
    history.add_user_message("before")
    lengths = {run("LLEN", history.key)}
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            lengths.add(run("LLEN", history.key))

    watching = threading.Thread(target=watch)
    watching.start()
    sent = messages(250, 100_000)
    try:
        call(history, "add_messages", sent)
    finally:
        done.set()
        watching.join()
    assert lengths <= {1, 251}
    assert _texts(history.messages) == ["before", *_texts(sent)]
    assert run("KEYS", "chatstash:*") == []


def test_two_large_appends_at_once_stay_whole(upstash: LocalUpstash) -> None:
    sent = [messages(30, 10_000), messages(30, 10_001)]
    writers = [
        threading.Thread(target=_history(upstash, max_request_bytes=100_000).add_messages, args=(part,))
        for part in sent
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = _texts(_history(upstash).messages)
    assert sorted([found[:30], found[30:]]) == sorted(map(_texts, sent))


def test_a_server_that_permits_less_than_was_thought(call: Call) -> None:
    with LocalUpstash(plan=Limits(max_request_bytes=200_000)) as upstash:
        sent = messages(50, 10_000)
        call(_history(upstash), "add_messages", sent)
        assert _texts(call(_history(upstash), "messages")) == _texts(sent)


@pytest.mark.parametrize("key", [None, "evt"])
def test_where_the_server_is_full_nothing_shows(either: Call, key: str | None) -> None:
    with LocalUpstash(plan=Limits(max_request_bytes=200_000, max_data_bytes=1)) as upstash:
        history = _history(upstash)
        with pytest.raises(QuotaExceeded):
            either(history, "add_messages", messages(60, 10_000), idempotency_key=key)
        assert history.messages == []


# Stands in for a server that refuses one of the pushes within a script, as for a list over the size of a record.
_REFUSING_THE_SECOND_PUSH = """
local real, pushes = redis, 0
local redis = setmetatable({pcall = function(name, ...)
  if name == 'LPUSH' then pushes = pushes + 1 end
  if name == 'LPUSH' and pushes == 2 then return real.error_reply('ERR max single record size exceeded.') end
  return real.pcall(name, ...)
end}, {__index = real})
"""


def _refusing(script: str) -> str:
    flags, rest = SCRIPTS.composed(script).split("\n", 1)
    return f"{flags}\n{_REFUSING_THE_SECOND_PUSH}{rest}"


@pytest.mark.parametrize("key", [None, "evt"])
@pytest.mark.parametrize("before", [[], ["before"]])
def test_where_the_server_refuses_part_of_it_nothing_shows(
    upstash: LocalUpstash, either: Call, run: Run, monkeypatch: pytest.MonkeyPatch, key: str | None, before: list[str]
) -> None:
    monkeypatch.setattr(SCRIPTS, "source", lambda name: _refusing(SCRIPTS.text_of(f"{name}.lua")))
    history = _history(upstash, ttl=60, max_request_bytes=100_000)
    for text in before:
        history.add_user_message(text)
    with pytest.raises(RequestTooLarge):
        either(history, "add_messages", messages(20, 10_000), idempotency_key=key)
    assert _texts(history.messages) == before
    assert run("KEYS", "chatstash:idempotency:*") == []
    monkeypatch.undo()
    either(history, "add_messages", messages(20, 10_000), idempotency_key=key)
    assert len(history.messages) == len(before) + 20


def test_reading_while_others_append(upstash: LocalUpstash, call: Call) -> None:
    history = _history(upstash)
    sent = messages(300, 50_000)
    history.add_messages(sent)
    done = threading.Event()

    def append() -> None:
        while not done.is_set():
            history.add_messages([HumanMessage("a"), HumanMessage("b")])

    appending = threading.Thread(target=append)
    appending.start()
    try:
        found = _texts(call(history, "messages"))
    finally:
        done.set()
        appending.join()
    assert found[:300] == _texts(sent)
    later = found[300:]
    assert later == ["a", "b"] * (len(later) // 2)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_memory_of_a_large_conversation(upstash: LocalUpstash, colour: str) -> None:
    for what in ("add", "read"):
        assert memory.in_a_process(upstash, what, 250, 100_000, colour) < 4


@pytest.mark.parametrize("wrong", [["read"], ["nonsense", "1", "1"], ["add", "1", "1", "later"]])
def test_the_memory_of_something_else_is_answered_with_its_usage(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="prints one figure"):
        memory._main(wrong)


def test_the_memory_figures_are_printed_without_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "in_a_process", lambda upstash, what, count, characters: 1.5)
    memory._main([])
    assert len(capsys.readouterr().out.splitlines()) == 4
