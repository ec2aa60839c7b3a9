"""Edits: right beside others who append, made once, seen by every cache, and readable by others."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage

from chatstash import EditResult, MessageNotFound, Record, Store, UnstorableMessage, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.conftest import Call, command

FOREIGN = '{"type": "human", "data": {"content": "foreign"}, "mine": [1.0, 12345678901234567890]}'


@pytest.fixture(params=["standard", "strict"])
def history(request: pytest.FixtureRequest, upstash: LocalUpstash) -> Iterator[UpstashRedisChatMessageHistory]:
    with Store(upstash.url, upstash.token, cache_bytes=10**6, delivery=request.param) as store:
        yield UpstashRedisChatMessageHistory("s", store=store, ttl=600)


def _texts(history: UpstashRedisChatMessageHistory) -> list[Any]:
    return [message.content for message in history.messages]


def _filled(history: UpstashRedisChatMessageHistory, count: int = 4) -> list[Any]:
    """Fill a conversation, have it cached, and return the ids of its records."""
    history.add_messages([HumanMessage(str(number), id=f"m{number}") for number in range(count)])
    assert len(_texts(history)) == count
    return [record.id for record in history.records()]


def _of(result: EditResult) -> tuple[int, int, int]:
    return result.removed, result.length, result.cost.requests


def test_messages_are_replaced_removed_and_popped(history: UpstashRedisChatMessageHistory, call: Call) -> None:
    ids = _filled(history, 6)
    assert _of(call(history, "replace_message", ids[1], AIMessage("one"))) == (1, 6, 1)
    assert _texts(history) == ["0", "one", "2", "3", "4", "5"]
    assert _of(call(history, "delete_messages", str(ids[0]), "m2")) == (2, 4, 1)
    assert _texts(history) == ["one", "3", "4", "5"]
    assert _of(call(history, "truncate", after=ids[4])) == (1, 3, 1)
    assert _texts(history) == ["one", "3", "4"]
    assert _of(call(history, "pop")) == (1, 2, 1)
    assert _texts(history) == ["one", "3"]
    assert _of(call(history, "pop", 9)) == (2, 0, 1)
    assert _texts(history) == []
    assert _of(call(history, "pop")) == (0, 0, 1)


def test_what_is_documented_is_what_is_billed(history: UpstashRedisChatMessageHistory, upstash: LocalUpstash) -> None:
    ids = _filled(history)
    for commands, edit in (
        (8, lambda: history.replace_message(ids[0], AIMessage("x"))),
        (9, lambda: history.delete_messages(ids[1])),
        (10, lambda: history.delete_messages(ids[0], ids[2])),
    ):
        before = upstash.stats
        result = edit()
        spent = upstash.stats - before
        assert (spent.requests, spent.billed_commands) == (1, commands)
        assert result.cost.commands == commands
    assert history.truncate(after=ids[3]).cost.commands == 7  # nothing is newer: no LTRIM
    assert history.pop().cost.commands == 8  # none is left that could carry a generation


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_replaced_record_keeps_what_the_message_does_not_have(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], place: int
) -> None:
    _filled(history)
    stored = json.loads(run("LINDEX", "message_store:s", -1 - place))
    raw = json.dumps({"x y": [']}\\"', {"a": 1}], "n": 0, **stored}).replace('"n": 0', '"n":12345678901234567890.0')
    raw = raw.replace(', "rid": ', ',"rid":')
    run("LSET", "message_store:s", -1 - place, raw)
    before = history.records()[place]
    history.replace_message(f"m{place}", AIMessage("new", response_metadata={"n": 12345678901234567890}))
    after = history.records()[place]
    assert (after.id, after.type, after.data["content"], after.data["id"]) == (before.id, "ai", "new", f"m{place}")
    assert {**after.other, "g": 0} == {**before.other, "g": 0}
    assert b'"n":12345678901234567890.0' in after.raw
    assert history.messages[place].id == f"m{place}"


def test_records_of_other_libraries_are_found_by_their_bytes(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], call: Call
) -> None:
    run("RPUSH", "message_store:s", FOREIGN, FOREIGN.replace("foreign", "other"))
    other, foreign = history.records()
    call(history, "replace_message", foreign, AIMessage("edited"))
    assert run("LINDEX", "message_store:s", 0).startswith('{"type":"ai","data":{"content":"edited"')
    assert run("LINDEX", "message_store:s", 0).endswith(',"mine": [1.0, 12345678901234567890]}')
    call(history, "delete_messages", other)
    assert _texts(history) == ["edited"]


def test_an_id_within_a_message_names_nothing(history: UpstashRedisChatMessageHistory, call: Call) -> None:
    ids = _filled(history)
    decoy = HumanMessage(f'","rid":"{ids[0]}"', additional_kwargs={"rid": str(ids[0]), "data": {"id": "m0"}}, id="m9")
    history.add_messages([decoy])
    call(history, "delete_messages", ids[0])
    assert _texts(history) == ["1", "2", "3", decoy.content]
    with pytest.raises(MessageNotFound):
        call(history, "delete_messages", "m0")


@pytest.mark.parametrize("own_id", ['a"b', "a/b", "ü", "a b", "\\", "x" * 300, "\n"])
def test_an_own_id_may_hold_any_character(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], own_id: str
) -> None:
    run("LPUSH", "message_store:s", json.dumps({"type": "human", "data": {"content": "x", "id": own_id}}))
    history.replace_message(own_id, AIMessage("y"))
    assert [(message.content, message.id) for message in history.messages] == [("y", own_id)]
    history.delete_messages(own_id)
    assert _texts(history) == []


@pytest.mark.parametrize("missing", ["nothing", "AAAAAAPoAAAAAAAA.0/1"])
def test_an_id_that_is_not_there_changes_nothing(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], call: Call, missing: str
) -> None:
    ids = _filled(history)
    stored = run("LRANGE", "message_store:s", 0, -1)
    for edit in (
        lambda: call(history, "replace_message", missing, AIMessage("x")),
        lambda: call(history, "delete_messages", ids[0], missing),
        lambda: call(history, "truncate", after=missing),
    ):
        with pytest.raises(MessageNotFound, match="Nothing was changed") as caught:
            edit()
        assert (caught.value.id, caught.value.key) == (missing, "message_store:s")
    assert run("LRANGE", "message_store:s", 0, -1) == stored


@pytest.mark.parametrize(
    "edit",
    [
        lambda history: history.delete_messages(),
        lambda history: history.delete_messages(7),
        lambda history: history.delete_messages(""),
        lambda history: history.delete_messages("\ud800"),
        lambda history: history.delete_messages(Record("human", {"content": "x"})),
        lambda history: history.truncate(after=None),
        lambda history: history.pop(0),
        lambda history: history.pop(True),
        lambda history: history.replace_message("m0", AIMessage(content="x", additional_kwargs={"a": {1}})),
        lambda history: history.replace_message("m0", "text"),
    ],
)
def test_bad_arguments_send_nothing(
    history: UpstashRedisChatMessageHistory, upstash: LocalUpstash, edit: Callable[[Any], Any]
) -> None:
    before = upstash.stats.requests
    with pytest.raises((ValueError, UnstorableMessage)):
        edit(history)
    assert upstash.stats.requests == before


@pytest.mark.parametrize("copied", ["restored", "forked"])
def test_a_cache_notices_that_an_edited_copy_took_the_place_of_an_edited_conversation(
    upstash: LocalUpstash, copied: str
) -> None:
    stores = [Store(upstash.url, upstash.token, cache_bytes=10**6) for _ in range(2)]
    editor, reader = (UpstashRedisChatMessageHistory("s", store=store) for store in stores)
    ids = _filled(editor, 30)
    backup = editor.records()
    editor.fork("copy")
    editor.replace_message(ids[1], AIMessage("one"))
    assert _texts(reader)[1] == "one"
    editor.clear()
    if copied == "forked":
        UpstashRedisChatMessageHistory("copy", store=stores[0]).rename("s")
    else:
        editor.session().restore(backup)
    editor.replace_message(ids[1], AIMessage("other"))
    assert _texts(reader)[1] == "other"


def test_an_escaped_name_of_a_field_is_replaced_too(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any]
) -> None:
    run("LPUSH", "message_store:s", r'{"\u0074ype":"human","\u0064ata":{"content":"x","id":"m"},"\u006dine":[1.0]}')
    history.replace_message("m", AIMessage("new"))
    assert _texts(history) == ["new"]
    assert history.records()[0].other["mine"] == [1.0]


@pytest.mark.parametrize("by", ["id", "own id"])
def test_hundreds_are_deleted_in_one_pass(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], call: Call, by: str
) -> None:
    ids = _filled(history, 1200)
    run("LPUSH", "message_store:s", FOREIGN)
    foreign = history.records()[-1]
    run("LPUSH", "message_store:s", run("LINDEX", "message_store:s", 6))
    named = [ids[at] if by == "id" else f"m{at}" for at in range(0, 1200, 2)]
    with pytest.raises(MessageNotFound, match="'gone'"):
        call(history, "delete_messages", *named, "gone", "also gone")
    result = call(history, "delete_messages", *named, named[7], foreign)
    assert (result.removed, result.length) == (601, 600)
    assert result.cost.commands <= 9 + 601 + 8
    assert _texts(history) == [str(at) for at in range(1, 1200, 2)]


def test_edits_keep_the_expiry_and_the_place_in_the_list(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    with Store(upstash.url, upstash.token, ttl=600) as store:
        first, second = (UpstashRedisChatMessageHistory(name, user_id="u", store=store) for name in "ab")
        ids = _filled(first)
        _filled(second)
        run("EXPIRE", first.key, 100)
        first.replace_message(ids[0], AIMessage("x"))
        first.delete_messages(ids[1])
        first.pop()
        assert 0 < run("TTL", first.key) <= 100
        assert [session.session_id for session in store.list_sessions(user_id="u").sessions] == ["b", "a"]


def test_edits_beside_eight_appenders(upstash: LocalUpstash) -> None:
    histories = [UpstashRedisChatMessageHistory("s", upstash.url, upstash.token) for _ in range(9)]
    editor = histories.pop()
    ids = _filled(editor, 30)

    def append(number: int) -> None:
        for at in range(12):
            histories[number].add_messages([HumanMessage(f"{number}.{at}"), AIMessage("ok")])

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for at in range(0, 30, 3):
        editor.replace_message(ids[at], HumanMessage(f"edited {at}"))
        editor.delete_messages(ids[at + 1])
    for thread in threads:
        thread.join()
    texts = _texts(editor)
    assert texts[:20] == [text for at in range(0, 30, 3) for text in (f"edited {at}", str(at + 2))]
    for number in range(8):
        own = [text for text in texts[20:] if text.startswith(f"{number}.")]
        assert own == [f"{number}.{at}" for at in range(12)]
    assert len(texts) == 20 + 8 * 12 * 2


def test_a_pop_beside_hidden_duplicates_removes_what_readers_see(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], call: Call
) -> None:
    _filled(history)
    run("LPUSH", "message_store:s", run("LINDEX", "message_store:s", 2))
    assert call(history, "pop").removed == 1
    assert _texts(history) == ["0", "1", "2"]


def _arrive_late(upstash: LocalUpstash, session_id: str) -> UpstashRedisChatMessageHistory:
    """Return a conversation of 0 to 6, followed by a duplicate of 0 that arrived late."""
    history = UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token)
    upstash.faults.next("applied_late", held=True)
    history.add_messages([HumanMessage("0", id="m0")])
    history.add_messages([HumanMessage(str(number), id=f"m{number}") for number in range(1, 7)])
    assert upstash.release() == 1
    assert command(upstash, "LLEN", history.key) == 8
    return history


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("pop", ["pop", "pop_item"])
def test_a_pop_removes_what_readers_see_whatever_the_clocks_say(
    upstash: LocalUpstash, call: Call, monkeypatch: pytest.MonkeyPatch, pop: str, hours: int
) -> None:
    now_ns = time.time_ns
    steps = itertools.count()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + hours * next(steps) * 10**12)
    history = _arrive_late(upstash, "s")
    if pop == "pop":
        assert call(history, "pop").removed == 1
    else:
        assert call(history.session(), "pop_item").content == "6"
    assert _texts(history) == [*"012345"]


def test_an_own_id_names_the_message_that_readers_see(upstash: LocalUpstash, either: Call) -> None:
    history = _arrive_late(upstash, "replaced")
    either(history, "replace_message", "m0", HumanMessage("new"))
    assert _texts(history) == ["new", *"123456"]
    history = _arrive_late(upstash, "deleted")
    assert either(history, "delete_messages", "m0").removed == 1
    assert _texts(history) == [*"123456"]
    history = _arrive_late(upstash, "truncated")
    either(history, "truncate", after="m0")
    assert _texts(history) == ["0"]


def test_of_several_messages_with_one_id_the_newest_is_meant(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any]
) -> None:
    history.add_messages([HumanMessage("0", id="m"), AIMessage("1"), HumanMessage("2", id="m"), AIMessage("3")])
    with history.guarded_turn(replacing="m") as turn:
        assert [message.content for message in turn.messages] == ["0", "1"]
        turn.add_messages([HumanMessage("new", id="m")])
    assert _texts(history) == ["0", "1", "new"]
    run("LPUSH", history.key, FOREIGN, FOREIGN)
    with history.guarded_turn(replacing=history.records()[-1]) as turn:
        assert [message.content for message in turn.messages] == ["0", "1", "new", "foreign"]
        turn.add_messages([HumanMessage("after")])
    assert _texts(history) == ["0", "1", "new", "foreign", "after"]


def test_duplicates_go_with_their_message(
    history: UpstashRedisChatMessageHistory, run: Callable[..., Any], call: Call
) -> None:
    ids = _filled(history)
    run("LPUSH", "message_store:s", run("LINDEX", "message_store:s", -1))
    call(history, "replace_message", ids[0], AIMessage("edited"))
    assert _texts(history) == ["edited", "1", "2", "3"]
    run("LPUSH", "message_store:s", run("LINDEX", "message_store:s", -2))
    assert _of(call(history, "delete_messages", ids[1]))[:1] == (1,)
    assert _texts(history) == ["edited", "2", "3"]


def test_a_remove_message_removes(history: UpstashRedisChatMessageHistory, call: Call) -> None:
    ids = _filled(history)
    call(history, "add_messages", [RemoveMessage("m0"), RemoveMessage(str(ids[1]))])
    assert _texts(history) == ["2", "3"]
    with pytest.raises(MessageNotFound):
        call(history, "add_messages", [RemoveMessage("m0")])
    with pytest.raises(UnstorableMessage, match="cannot be in one call"):
        call(history, "add_messages", [RemoveMessage("m2"), HumanMessage("new")])
    for options in ({"idempotency_key": "e"}, {"metadata": {"a": 1}}):
        with pytest.raises(UnstorableMessage, match="neither an idempotency_key nor metadata"):
            call(history, "add_messages", [RemoveMessage("m2")], **options)
    with pytest.raises(UnstorableMessage, match="cannot be stored"):
        call(history, "add_messages", iter([RemoveMessage("m2")]))
    with pytest.raises(UnstorableMessage, match="cannot be stored"):
        call(history, "replace_message", "m2", RemoveMessage("m2"))
    assert _texts(history) == ["2", "3"]
    replaced: list[BaseMessage] = [HumanMessage("old"), RemoveMessage("__remove_all__"), HumanMessage("new")]
    call(history, "add_messages", replaced)
    assert _texts(history) == ["new"]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("edit", ["pop", "truncate", "delete", "replace"])
def test_an_edit_whose_reply_is_lost_is_made_once(upstash: LocalUpstash, after: bool, edit: str) -> None:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    ids = _filled(history)
    edits: dict[str, Callable[[], EditResult]] = {
        "pop": history.pop,
        "truncate": lambda: history.truncate(after=ids[2]),
        "delete": lambda: history.delete_messages(ids[3]),
        "replace": lambda: history.replace_message(ids[3], HumanMessage("3", id="m3")),
    }
    history.pop(1)
    history.add_messages([HumanMessage("3", id="m3")])
    ids[3] = history.records()[3].id
    upstash.faults.next("reply_lost" if after else "request_lost")
    assert edits[edit]().removed == 1
    command(upstash, "LPUSH", "message_store:s", FOREIGN)
    assert len(_texts(history)) == (5 if edit == "replace" else 4)


def test_a_cache_notices_an_edit_whatever_became_of_the_newest_message(upstash: LocalUpstash, either: Call) -> None:
    with Store(upstash.url, upstash.token, cache_bytes=10**6) as cached, Store(upstash.url, upstash.token) as store:
        reader, editor = (UpstashRedisChatMessageHistory("s", store=each) for each in (cached, store))
        ids = _filled(reader, 60)
        either(editor, "replace_message", ids[59], HumanMessage("A"))
        editor.replace_message(ids[1], HumanMessage("edited"))
        assert _texts(reader)[1] == "edited"
        # Replaced by another, and back.
        for text in ("B", "A"):
            either(editor, "replace_message", ids[59], HumanMessage(text))
        editor.replace_message(ids[2], HumanMessage("edited"))
        assert _texts(reader)[2] == "edited"
        # The newest takes its generation along.
        editor.add_messages([HumanMessage("newest")])
        editor.replace_message(ids[3], HumanMessage("edited"))
        either(editor.session(), "pop_item")
        assert _texts(reader)[:5] == ["0", "edited", "edited", "edited", "4"]
