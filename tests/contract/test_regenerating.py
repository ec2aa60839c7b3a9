"""Regenerating: replies replaced and put back, conversations forked and renamed, whatever is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from chatstash import (
    Applied,
    CommandRejected,
    ConcurrentTurn,
    ConversationExists,
    MessageNotFound,
    SessionNotFound,
    Store,
    UpstashRedisChatMessageHistory,
    WrongType,
)
from chatstash.history.operations import move
from chatstash.history.records.index import index_keys
from chatstash.history.records.keys import companion_key, owner_of
from chatstash.local import LocalUpstash, limits_of
from tests.conftest import Call, command

History = UpstashRedisChatMessageHistory


@pytest.fixture(params=[{}, {"user_id": "u", "ttl": 900}, {"delivery": "strict", "max_stored_messages": 50}])
def history(request: pytest.FixtureRequest, upstash: LocalUpstash) -> Iterator[History]:
    options = dict(request.param)
    user_id = options.pop("user_id", None)
    with Store(upstash.url, upstash.token, cache_bytes=10**6, **options) as store:
        yield History("s", store=store, user_id=user_id)


def _texts(history: History) -> list[Any]:
    return [message.content for message in history.messages]


def _fill(history: History) -> None:
    history.add_messages([HumanMessage("q1", id="q1"), AIMessage("a1", id="a1")])
    history.add_messages([HumanMessage("q2", id="q2"), AIMessage("a2", id="a2")])
    assert _texts(history) == ["q1", "a1", "q2", "a2"]


def _regenerate(history: History, replacing: str, *messages: Any) -> None:
    with history.guarded_turn(replacing=replacing) as turn:
        turn.add_messages(messages)


def test_a_reply_is_generated_again_and_put_back(history: History, call: Call) -> None:
    _fill(history)
    with history.guarded_turn(replacing="a2") as turn:
        assert [message.content for message in turn.messages] == ["q1", "a1", "q2"]
        turn.add_ai_message(AIMessage("a2b", id="a2b"))
    assert turn.appended is not None
    assert turn.appended.length == 4
    assert _texts(history) == ["q1", "a1", "q2", "a2b"]
    _regenerate(history, "a2b", AIMessage("a2c", id="a2c"))
    first, second = call(history, "alternatives", "a2c")
    assert [[message.content for message in each.items] for each in (first, second)] == [["a2"], ["a2b"]]
    assert first.records[0].data["id"] == "a2"
    assert first.time_ms <= second.time_ms
    result = call(history, "switch_to", first)
    assert (result.removed, result.length) == (1, 4)
    assert _texts(history) == ["q1", "a1", "q2", "a2"]
    assert [each.items[0].content for each in call(history, "alternatives", "a2")] == ["a2b", "a2c"]
    call(history, "switch_to", second.id)
    assert _texts(history)[-1] == "a2b"
    with pytest.raises(MessageNotFound, match=rf"has no alternative with the id '{second.id}'.*`alternatives\(\)`"):
        call(history, "switch_to", second.id)
    assert call(history, "alternatives", "q1") == []


def test_a_question_is_edited_and_its_tail_has_alternatives_of_its_own(history: History, call: Call) -> None:
    _fill(history)
    _regenerate(history, "a2", AIMessage("a2b", id="a2b"))
    _regenerate(history, "q1", HumanMessage("q1b", id="q1b"), AIMessage("a1b", id="a1b"))
    assert _texts(history) == ["q1b", "a1b"]
    (before,) = call(history, "alternatives", "q1b")
    assert [message.content for message in before.items] == ["q1", "a1", "q2", "a2b"]
    call(history, "switch_to", before)
    assert _texts(history) == ["q1", "a1", "q2", "a2b"]
    (inner,) = call(history, "alternatives", "a2b")
    assert call(history, "switch_to", inner).length == 4
    assert _texts(history) == ["q1", "a1", "q2", "a2"]


def test_what_is_appended_meanwhile_is_not_lost(history: History, call: Call) -> None:
    _fill(history)
    with pytest.raises(ConcurrentTurn) as caught, history.guarded_turn(replacing="a2") as turn:
        history.add_user_message("meanwhile")
        turn.add_ai_message("a2b")
    assert [message.content for message in caught.value.messages] == ["meanwhile"]
    assert _texts(history) == ["q1", "a1", "q2", "a2", "meanwhile"]
    _regenerate(history, "a2", AIMessage("a2b", id="a2b"))
    (aside,) = call(history, "alternatives", "a2b")
    history.add_user_message("later")
    call(history, "switch_to", aside)
    assert _texts(history) == ["q1", "a1", "q2", "a2", "meanwhile"]
    (later,) = call(history, "alternatives", "a2")
    assert [message.content for message in later.items] == ["a2b", "later"]


def test_a_model_that_fails_leaves_everything(history: History) -> None:
    _fill(history)
    with pytest.raises(ZeroDivisionError), history.guarded_turn(replacing="a2") as turn:
        turn.add_ai_message("a2b")
        raise ZeroDivisionError
    with history.guarded_turn(replacing="a2"):
        pass
    assert _texts(history) == ["q1", "a1", "q2", "a2"]
    with pytest.raises(MessageNotFound), history.guarded_turn(replacing="gone"):
        pass


def test_a_message_outside_the_window_is_replaced(upstash: LocalUpstash) -> None:
    history = History("s", upstash.url, upstash.token, read_last=2)
    history.add_messages(
        [message for at in range(8) for message in (HumanMessage(f"q{at}", id=f"q{at}"), AIMessage("a"))]
    )
    with history.guarded_turn(replacing="q5") as turn:
        assert [message.content for message in turn.messages] == ["q4", "a"]
        turn.add_messages([HumanMessage("new")])
    assert [message.content for message in history.read(last=100).messages][-3:] == ["q4", "a", "new"]


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"read_last": 1}, ["q7"]),
        ({"read_last": 3}, ["q6", "a6", "q7"]),
        ({"read_last": 2, "keep_system": True}, ["s", "a6", "q7"]),
        ({"max_tokens": 30}, ["q6", "a6", "q7"]),
        ({"max_tokens": 30, "keep_system": True}, ["s", "a6", "q7"]),
        ({"max_tokens": 30, "read_last": 2}, ["a6", "q7"]),
        ({"read_last": 2, "start_on": "human"}, ["q7"]),
    ],
)
def test_a_window_ends_before_the_message_that_is_replaced(
    upstash: LocalUpstash, call: Call, options: dict[str, Any], seen: list[str]
) -> None:
    history = History("s", upstash.url, upstash.token, token_counter=lambda messages: 10 * len(messages), **options)
    history.add_messages([SystemMessage("s")])
    for at in range(8):
        history.add_messages([HumanMessage(f"q{at}", id=f"q{at}"), AIMessage(f"a{at}", id=f"a{at}")])
    history.add_messages([AIMessage("more"), AIMessage("and more")])
    with history.guarded_turn(replacing="a7") as turn:
        assert [message.content for message in turn.messages] == seen
        turn.add_messages([AIMessage("again")])
    whole = call(history.session(), "read", last=100).items
    assert [message.content for message in whole][-2:] == ["q7", "again"]
    with history.guarded_turn(replacing="q0") as turn:
        assert [message.content for message in turn.messages] in ([], ["s"])


@pytest.mark.parametrize(
    "kind", ["request_lost", "reply_lost", "applied_late", "replayed", "truncated", "server_error"]
)
@pytest.mark.parametrize("step", ["replace", "switch", "fork", "rename"])
def test_each_step_is_made_once_whatever_is_lost(upstash: LocalUpstash, kind: str, step: str) -> None:
    with Store(upstash.url, upstash.token) as store:
        history = History("s", store=store, user_id="u")
        _fill(history)
        _regenerate(history, "a2", AIMessage("a2b", id="a2b"))
        (aside,) = history.alternatives("a2b")
        if step == "replace":
            with history.guarded_turn(replacing="a2b") as turn:
                turn.add_ai_message(AIMessage("a2c", id="a2c"))
                upstash.faults.next(kind)
            assert _texts(history) == ["q1", "a1", "q2", "a2c"]
            assert [each.items[0].content for each in history.alternatives("a2c")] == ["a2", "a2b"]
        elif step == "switch":
            upstash.faults.next(kind)
            history.switch_to(aside)
            assert _texts(history) == ["q1", "a1", "q2", "a2"]
            assert [each.items[0].content for each in history.alternatives("a2")] == ["a2b"]
        else:
            upstash.faults.next(kind)
            (history.fork if step == "fork" else history.rename)("t")
            assert _texts(History("t", store=store, user_id="u")) == ["q1", "a1", "q2", "a2b"]
            assert _texts(history) == (["q1", "a1", "q2", "a2b"] if step == "fork" else [])
            listed = [session.session_id for session in store.list_sessions(user_id="u").sessions]
            assert listed == (["t", "s"] if step == "fork" else ["t"])


def test_alternatives_expire_and_are_erased(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    history = History("s", upstash.url, upstash.token)
    _fill(history)
    _regenerate(history, "a2", AIMessage("a2b"))
    aside = companion_key("alternatives", history.key)
    assert 29 * 86_400 < run("TTL", aside) <= 30 * 86_400
    brief = History("t", upstash.url, upstash.token, ttl=100)
    _fill(brief)
    run("EXPIRE", brief.key, 50)
    _regenerate(brief, "q1", HumanMessage("new"))
    assert run("TTL", companion_key("alternatives", brief.key)) <= 100
    assert run("TTL", brief.key) > 50
    history.clear()
    assert run("EXISTS", aside) == 0


def test_replacing_all_keeps_an_expiry_that_others_set(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    history = History("s", upstash.url, upstash.token)
    _fill(history)
    run("EXPIRE", history.key, 500)
    _regenerate(history, "q1", HumanMessage("new", id="new"))
    assert 400 < run("TTL", history.key) <= 500
    history.switch_to(history.alternatives("new")[0])
    assert 400 < run("TTL", history.key) <= 500
    assert _texts(history) == ["q1", "a1", "q2", "a2"]


def test_records_of_any_bytes_come_back(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    history = History("s", upstash.url, upstash.token, on_corrupt="skip")
    _fill(history)
    odd = ["not json", "12:{}", "\n", '{"type": "human", "data": {"content": "foreign\\n"}}', ""]
    run("LPUSH", history.key, *odd)
    before = run("LRANGE", history.key, 0, -1)
    _regenerate(history, "q2", HumanMessage("new", id="new"))
    history.switch_to(history.alternatives("new")[0])
    after = run("LRANGE", history.key, 0, -1)
    assert [raw.split(',"g":')[0].rstrip("}") for raw in after] == [raw.split(',"g":')[0].rstrip("}") for raw in before]


def test_a_large_reply_replaces(upstash: LocalUpstash) -> None:
    history = History("s", upstash.url, upstash.token, max_request_bytes=100_000)
    _fill(history)
    large = [AIMessage(letter * 60_000) for letter in "xyz"]
    _regenerate(history, "a2", *large)
    assert [text[0] for text in _texts(history)] == ["q", "a", "q", "x", "y", "z"]
    assert not [key for key in command(upstash, "KEYS", "*") if "staging" in key]


@pytest.mark.parametrize("name", ["6614c0147912d-40a565c1", "x", "zz-1", "ü", "."])
@pytest.mark.parametrize("damage", ["", "\n", "\n5:ab", "\nnonsense", "\n-3:ab", "\n" + "9" * 30 + ":a", None])
def test_what_others_wrote_among_the_alternatives_stops_nobody(
    upstash: LocalUpstash, run: Callable[..., Any], either: Call, name: str, damage: str | None
) -> None:
    history = History("s", upstash.url, upstash.token)
    _fill(history)
    _regenerate(history, "a2", AIMessage("a2b", id="a2b"))
    key = companion_key("alternatives", history.key)
    (value,) = run("HVALS", key)
    run("HSET", key, name, "x" if damage is None else value.partition("\n")[0] + damage)
    found = [each for each in either(history, "alternatives", "a2b") if each.items]
    assert [each.items[0].content for each in found] == ["a2"]
    if damage != "\n":  # which is an alternative without records
        with pytest.raises(MessageNotFound):
            either(history, "switch_to", name)
    either(history, "switch_to", found[0])
    assert _texts(history)[-1] == "a2"


def test_alternatives_that_exceed_a_reply_come_in_parts(call: Call) -> None:
    with LocalUpstash(plan=limits_of("payg", max_request_bytes=300_000)) as upstash:
        history = History("s", upstash.url, upstash.token, max_request_bytes=200_000)
        history.add_messages([HumanMessage("q"), AIMessage("0" * 100_000, id="m0")])
        for number in range(1, 5):
            _regenerate(history, f"m{number - 1}", AIMessage(str(number) * 100_000, id=f"m{number}"))
        history.add_messages([AIMessage(letter * 100_000) for letter in "abcdef"])
        _regenerate(history, "m4", AIMessage("ü" * 50_000, id="m5"))
        found = call(history, "alternatives", "m5")
        assert [len(each.items) for each in found] == [1, 1, 1, 1, 7]
        assert [each.items[-1].content[0] for each in found] == [*"0123f"]
        call(history, "switch_to", found[4])
        assert [text[0] for text in _texts(history)] == [*"q4abcdef"]


def test_forks_and_renames(history: History, call: Call, run: Callable[..., Any]) -> None:
    _fill(history)
    store, user_id = history._store, history.user_id
    ids = [record.id for record in history.records()]
    result = call(history, "fork", "part", upto="a1")
    assert (result.session_id, result.user_id, result.length, result.cost.requests) == ("part", user_id, 2, 1)
    part = History("part", store=store, user_id=user_id)
    assert _texts(part) == ["q1", "a1"]
    assert [record.id for record in part.records()] == ids[:2]
    part.add_user_message("own")
    call(history, "fork", "whole")
    assert _texts(history) == _texts(History("whole", store=store, user_id=user_id)) == ["q1", "a1", "q2", "a2"]
    with pytest.raises(ConversationExists, match="Nothing was changed"):
        call(history, "fork", "whole")
    with pytest.raises(ConversationExists):
        call(history, "rename", "whole")
    with pytest.raises(MessageNotFound):
        call(history, "fork", "other", upto="gone")
    _regenerate(history, "a2", AIMessage("a2b", id="a2b"))
    assert call(history, "rename", "new").length == 4
    assert _texts(history) == []
    new = History("new", store=store, user_id=user_id)
    assert _texts(new) == ["q1", "a1", "q2", "a2b"]
    assert new.alternatives("a2b")[0].items[0].content == "a2"
    with pytest.raises(SessionNotFound):
        call(history, "rename", "again")
    for bad in ("", "s", 7, "x" * 40_000):
        with pytest.raises(ValueError):
            call(history, "rename", bad)
    if history.ttl:
        assert 0 < run("TTL", new.key) <= 900
        assert 0 < run("TTL", History("whole", store=store, user_id=user_id).key) <= 900


def _dump(upstash: LocalUpstash) -> dict[str, str]:
    return {key: command(upstash, "DUMP", key) for key in command(upstash, "KEYS", "*")}


def _strings(upstash: LocalUpstash) -> list[str]:
    return [key for key in command(upstash, "KEYS", "*") if command(upstash, "TYPE", key) == "string"]


@pytest.mark.parametrize("place", ["message_store:@u/s", *index_keys(owner_of("message_store:", "u")), "alternatives"])
@pytest.mark.parametrize("step", ["fork", "rename", "regenerate", "switch_to", "replace_message", "pop"])
def test_a_key_of_another_type_leaves_all_or_nothing(
    upstash: LocalUpstash, either: Call, step: str, place: str
) -> None:
    history = History("s", upstash.url, upstash.token, user_id="u")
    _fill(history)
    _regenerate(history, "a2", AIMessage("a2b", id="a2b"))
    (aside,) = history.alternatives("a2b")
    place = companion_key(place, history.key) if place == "alternatives" else place
    command(upstash, "DEL", place)
    command(upstash, "SET", place, "of another program")
    before = _dump(upstash)
    arguments = {"switch_to": [aside], "replace_message": ["a1", AIMessage("new")], "pop": []}.get(step, ["new"])
    try:
        if step == "regenerate":
            _regenerate(history, "a2b", AIMessage("new"))
        else:
            either(history, step, *arguments)
    except WrongType as error:
        assert error.applied is Applied.NO
        assert _dump(upstash) == before
    assert "of another program" in [command(upstash, "GET", key) for key in _strings(upstash)]


@pytest.mark.parametrize("step", ["fork", "rename"])
def test_a_server_that_lacks_a_command_of_the_index_leaves_everything(
    upstash: LocalUpstash, monkeypatch: pytest.MonkeyPatch, either: Call, step: str
) -> None:
    def without(name: str, *words: Any) -> tuple[Any, ...]:
        verb, text, *rest = call_script(name, *words)
        return (verb, text.replace("'HPEXPIRE'", "'NO.SUCH.COMMAND'"), *rest)

    call_script = move.call
    monkeypatch.setattr(move, "call", without)
    with Store(upstash.url, upstash.token, ttl=900) as store:
        history = History("s", store=store, user_id="u")
        _fill(history)
        before = _dump(upstash)
        with pytest.raises(CommandRejected) as caught:
            either(history, step, "new")
        assert caught.value.applied is Applied.NO
        after = _dump(upstash)
        assert after.keys() == before.keys()
        assert [session.session_id for session in store.list_sessions(user_id="u").sessions] == ["s"]
        assert _texts(history) == ["q1", "a1", "q2", "a2"]


@pytest.mark.parametrize("step", ["fork", "rename"])
def test_what_another_conversation_left_is_not_taken_over(
    upstash: LocalUpstash, run: Callable[..., Any], call: Call, step: str
) -> None:
    left, history = (History(name, upstash.url, upstash.token) for name in ("new", "s"))
    _fill(left)
    _regenerate(left, "q1", HumanMessage("secret", id="secret"))
    run("HSET", companion_key("draft", left.key), "6614c0147912d-40a565c1.0", "secret")
    run("RPUSH", companion_key("quarantine", left.key), "secret")
    run("DEL", left.key)  # as other libraries clear
    _fill(history)
    call(history, step, "new")
    assert left.alternatives("q1") == []
    assert left.read_draft() is None
    assert run("EXISTS", companion_key("quarantine", left.key)) == 0


def test_a_draft_and_a_quarantine_are_renamed_too(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    history, new = (History(name, upstash.url, upstash.token) for name in ("s", "new"))
    _fill(history)
    run("RPUSH", companion_key("quarantine", history.key), "kept")
    with pytest.raises(ZeroDivisionError), history.draft() as draft:
        draft.update("so far")
        raise ZeroDivisionError
    history.rename("new")
    assert history.read_draft() is None
    moved = new.read_draft()
    assert moved is not None
    assert moved.text == "so far"
    assert run("LRANGE", companion_key("quarantine", new.key), 0, -1) == ["kept"]


def test_forks_and_renames_are_listed_as_their_source(
    upstash: LocalUpstash, run: Callable[..., Any], call: Call
) -> None:
    for ttl in (None, 900):
        with Store(upstash.url, upstash.token, ttl=ttl) as store:
            user_id = f"u{ttl}"
            history, other = (History(name, store=store, user_id=user_id) for name in ("s", "other"))
            _fill(history)
            store.update_session("s", user_id=user_id, title="T", metadata={"a": 1})
            _fill(other)
            call(history, "rename", "r")
            call(other, "fork", "f")
            sessions = store.list_sessions(user_id=user_id).sessions
            assert [(each.session_id, each.title) for each in sessions] == [("f", "q1"), ("other", "q1"), ("r", "T")]
            assert sessions[2].metadata == {"a": 1}
            assert sessions[0].created_at >= sessions[1].updated_at
            if ttl:
                info = next(key for key in run("KEYS", "*session-info*") if user_id in key)
                assert all(0 < left <= 900 for left in run("HTTL", info, "FIELDS", 3, "sf", "sr", "tr"))


def test_old_readers_read_what_was_regenerated(upstash: LocalUpstash) -> None:
    community = pytest.importorskip("langchain_community.chat_message_histories")
    history = History("s", upstash.url, upstash.token)
    history.add_messages([SystemMessage("Be kind.")])
    _fill_after_system(history)
    history.replace_message("q1", HumanMessage("edited", id="q1"))
    _regenerate(history, "a1", AIMessage("again"))
    old = community.UpstashRedisChatMessageHistory("s", url=upstash.url, token=upstash.token)
    assert [message.content for message in old.messages] == ["Be kind.", "edited", "again"]
    old.redis_client.close()
    assert all(json.loads(raw)["type"] for raw in command(upstash, "LRANGE", history.key, 0, -1))


def _fill_after_system(history: History) -> None:
    history.add_messages([HumanMessage("q1", id="q1"), AIMessage("a1", id="a1")])
