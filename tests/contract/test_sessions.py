"""The session index: what a sidebar shows, at what cost, whatever the appends were and whatever failed."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from chatstash import (
    ReadOnlyToken,
    Record,
    SessionNotFound,
    Store,
    UnstorableMessage,
    UpstashRedisChatMessageHistory,
    WrongType,
)
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.records.index import index_keys
from chatstash.history.records.keys import companion_key, conversation_key, owned, owner_of
from chatstash.history.steps.indexing import IndexEntry
from chatstash.langchain.messages import why_unreadable
from chatstash.local import LocalUpstash
from tests.conftest import Call, command

QUESTION = [HumanMessage("What is 6 * 7?"), AIMessage("42")]


@pytest.fixture
def store(upstash: LocalUpstash) -> Iterator[Store]:
    with Store(upstash.url, upstash.token) as store:
        yield store


def _history(store: Store, session_id: str, **options: Any) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, store=store, **options)


def _ids(store: Store, user_id: str | None = "u") -> list[str]:
    return [session.session_id for session in store.list_sessions(user_id=user_id).sessions]


@pytest.mark.parametrize(("ttl", "first", "further"), [(None, 3, 2), (3600, 6, 4)])
def test_an_append_costs_the_commands_that_are_documented(
    upstash: LocalUpstash, call: Call, ttl: int | None, first: int, further: int
) -> None:
    session = Store(upstash.url, upstash.token, ttl=ttl).session("s", user_id="u")
    call(session, "read")
    for commands in (first, further, further):
        before = upstash.stats.billed_commands
        result = call(session, "append", [Record("human", {"content": "hi"})])
        assert (result.cost.requests, result.cost.commands, result.indexed) == (1, commands, True)
        assert upstash.stats.billed_commands - before == commands


def test_without_an_index_nothing_is_listed_and_nothing_changes(store: Store, run: Callable[..., Any]) -> None:
    result = store.session("s").append([Record("human", {"content": "hi"})])
    assert (result.cost.commands, result.indexed) == (1, None)
    assert run("KEYS", "*") == ["message_store:s"]
    assert store.list_sessions().sessions == []


@pytest.mark.parametrize("options", [{}, {"delivery": "strict"}, {"max_stored_messages": 4}, {"ttl": 60}])
def test_every_append_is_on_the_index(upstash: LocalUpstash, call: Call, options: dict[str, Any]) -> None:
    store = Store(upstash.url, upstash.token, max_request_bytes=100_000, **options)
    _history(store, "plain", user_id="u").add_messages(QUESTION)
    call(_history(store, "event", user_id="u"), "add_messages", QUESTION, idempotency_key="e")
    with _history(store, "turn", user_id="u").guarded_turn() as turn:
        turn.add_messages(QUESTION)
    call(_history(store, "large", user_id="u"), "add_messages", [HumanMessage("x" * 60_000), AIMessage("y" * 60_000)])
    page = call(store, "list_sessions", user_id="u")
    assert [session.session_id for session in page.sessions] == ["large", "turn", "event", "plain"]
    assert {session.title for session in page.sessions[1:]} == {"What is 6 * 7?"}


def test_a_repeated_event_moves_no_session(store: Store) -> None:
    for session_id in ("a", "b"):
        _history(store, session_id, user_id="u").add_messages(QUESTION, idempotency_key="e")
    _history(store, "a", user_id="u").add_messages(QUESTION, idempotency_key="e")
    assert _ids(store) == ["b", "a"]


def test_pages_hold_each_session_once_while_others_append(store: Store, call: Call) -> None:
    for number in range(7):
        _history(store, f"s{number}", user_id="u").add_messages(QUESTION)
    first = call(store, "list_sessions", user_id="u", limit=3)
    _history(store, "s6", user_id="u").add_messages(QUESTION)
    _history(store, "new", user_id="u").add_messages(QUESTION)
    second = call(store, "list_sessions", user_id="u", limit=3, cursor=first.next_cursor)
    third = call(store, "list_sessions", user_id="u", limit=3, cursor=second.next_cursor)
    pages = [[session.session_id for session in page.sessions] for page in (first, second, third)]
    assert pages == [["s6", "s5", "s4"], ["s3", "s2", "s1"], ["s0"]]
    assert third.next_cursor is None
    assert [page.cost.commands for page in (first, second, third)] == [4, 6, 6]
    assert json.loads(json.dumps(first.to_dict()))["sessions"][0]["session_id"] == "s6"


def test_sessions_of_two_ttls_are_one_list(upstash: LocalUpstash) -> None:
    lasting, expiring = Store(upstash.url, upstash.token), Store(upstash.url, upstash.token, ttl=3600)
    for number in range(6):
        _history((lasting, expiring)[number % 2], f"s{number}", user_id="u").add_messages(QUESTION)
        _history(expiring, "both", user_id="u").add_messages(QUESTION)
        _history(lasting, "both", user_id="u").add_messages(QUESTION)
    seen: list[str] = []
    cursor = None
    while cursor is not None or not seen:
        page = lasting.list_sessions(user_id="u", limit=2, cursor=cursor)
        seen += [session.session_id for session in page.sessions]
        cursor = page.next_cursor
    assert seen == ["both", "s5", "s4", "s3", "s2", "s1", "s0"]


def test_the_expired_are_not_shown_and_are_forgotten(upstash: LocalUpstash, run: Callable[..., Any]) -> None:
    store = Store(upstash.url, upstash.token, ttl=3600)
    keys = index_keys(owner_of(store.key_prefix, "u"))
    for number in range(5):
        _history(store, f"s{number}", user_id="u").add_messages(QUESTION)
    for number in (1, 3, 4):
        run("HDEL", keys.info, f"ss{number}")  # as HEXPIRE does when its time comes
    with_writer = store.list_sessions(user_id="u", limit=1)
    assert [session.session_id for session in with_writer.sessions] == ["s2"]
    assert run("ZRANGE", keys.expiring, 0, -1) == ["s0", "s2"]
    assert _ids(store) == ["s2", "s0"]


def test_a_token_that_only_reads_lists_and_forgets_nothing() -> None:
    with LocalUpstash(read_only_token="may-read") as upstash:
        store = Store(upstash.url, upstash.token)
        for session_id in ("a", "b"):
            _history(store, session_id, user_id="u").add_messages(QUESTION)
        keys = index_keys(owner_of(store.key_prefix, "u"))
        command(upstash, "HDEL", keys.info, "sb")
        reader = Store(upstash.url, "may-read")
        assert [reader.list_sessions(user_id="u").cost.requests for _ in range(2)] == [2, 1]
        assert _ids(reader) == ["a"]
        assert command(upstash, "ZRANGE", keys.lasting, 0, -1) == ["a", "b"]
        with pytest.raises(ReadOnlyToken):
            reader.update_session("a", user_id="u", title="T")


def test_fields_expire_with_the_conversation(upstash: LocalUpstash, run: Callable[..., Any], call: Call) -> None:
    store = Store(upstash.url, upstash.token, ttl=3600)
    keys = index_keys(owner_of(store.key_prefix, "u"))
    history = _history(store, "s", user_id="u", ttl=50)
    call(history, "add_messages", QUESTION)
    call(store, "update_session", "s", user_id="u", title="T", metadata={"a": 1})
    assert all(40 < left <= 50 for left in run("HTTL", keys.info, "FIELDS", 3, "ss", "ts", "ms"))
    assert run("TTL", keys.expiring) > 3600
    call(_history(store, "s", user_id="u", ttl=3000), "add_messages", QUESTION)
    assert all(left > 2000 for left in run("HTTL", keys.info, "FIELDS", 3, "ss", "ts", "ms"))


def test_a_session_that_never_expires_stays_listed_in_a_store_with_a_ttl(
    upstash: LocalUpstash, run: Callable[..., Any], call: Call
) -> None:
    store = Store(upstash.url, upstash.token, ttl=60)
    history = _history(store, "s", user_id="u")
    history.ttl = None
    call(history, "add_messages", QUESTION)
    run("DEL", index_keys(owner_of(store.key_prefix, "u")).expiring)  # as when it expires
    assert _ids(store) == ["s"]


def test_a_read_that_restarts_the_ttl_keeps_the_session_listed(
    upstash: LocalUpstash, run: Callable[..., Any], call: Call
) -> None:
    store = Store(upstash.url, upstash.token, ttl=3600, refresh_ttl_on_read=True)
    keys = index_keys(owner_of(store.key_prefix, "u"))
    history = _history(store, "s", user_id="u")
    history.add_messages(QUESTION)
    for wanted in ({}, {"last": 1}):
        run("HEXPIRE", keys.info, 5, "FIELDS", 1, "ss")
        run("EXPIRE", keys.expiring, 5)
        fresh = Store(upstash.url, upstash.token, ttl=3600, refresh_ttl_on_read=True)
        assert call(_history(fresh, "s", user_id="u"), "read", **wanted).messages
        assert run("HTTL", keys.info, "FIELDS", 1, "ss")[0] > 3000
        assert run("TTL", keys.expiring) > 3000


def test_a_session_that_others_deleted_is_listed_again_with_the_next_append(upstash: LocalUpstash) -> None:
    for ttl in (None, 3600):
        store, other = (Store(upstash.url, upstash.token, ttl=ttl) for _ in range(2))
        _history(store, "s", user_id="u").add_messages(QUESTION)
        assert other.delete_session("s", user_id="u").existed
        assert _ids(store) == []
        result = store.session("s", user_id="u").append([Record("human", {"content": "again"})])
        assert (result.indexed, result.cost.requests) == (True, 2)
        assert [session.title for session in store.list_sessions(user_id="u").sessions] == ["again"]
        other.delete_session("s", user_id="u")


@pytest.mark.parametrize("delivery", ["standard", "strict"])
@pytest.mark.parametrize("ttl", [None, 60])
def test_it_is_listed_again_even_if_the_reply_to_the_append_is_lost(
    upstash: LocalUpstash, call: Call, delivery: Any, ttl: int | None
) -> None:
    options: dict[str, Any] = {"delivery": delivery, "ttl": ttl}
    with Store(upstash.url, upstash.token, **options) as store, Store(upstash.url, upstash.token) as other:
        session = store.session("s", user_id="u")
        session.append([Record("human", {"content": "hi"})])
        other.delete_session("s", user_id="u")
        upstash.faults.next("reply_lost")
        result = call(session, "append", [Record("human", {"content": "again"})])
        assert (result.indexed, result.repeated, session.count()) == (True, False, 1)
        assert [each.title for each in store.list_sessions(user_id="u").sessions] == ["again"]


def test_titles_and_metadata(store: Store, call: Call) -> None:
    history = _history(store, "s", user_id="u")
    history.add_messages([SystemMessage("Be kind.")])
    assert call(store, "get_session", "s", user_id="u").title is None
    history.add_messages([HumanMessage([{"type": "text", "text": "  Two\n lines "}, {"type": "image", "url": "u"}])])
    found = call(store, "get_session", "s", user_id="u")
    assert (found.title, found.metadata, found.user_id) == ("Two lines", {}, "u")
    assert found.created_at <= found.updated_at
    updated = call(store, "update_session", "s", user_id="u", title="By hand", metadata={"pinned": True})
    assert (updated.title, updated.metadata) == ("By hand", {"pinned": True})
    assert call(store, "update_session", "s", user_id="u", title="A model's", only_if_untitled=True).title == "By hand"
    assert call(store, "update_session", "s", user_id="u", title=None, metadata=None)._replace() == found
    assert (
        call(store, "update_session", "s", user_id="u", title="A model's", only_if_untitled=True).title == "A model's"
    )
    with pytest.raises(SessionNotFound, match=r"'gone'.*Nothing was changed"):
        call(store, "update_session", "gone", user_id="u", title="T")
    assert call(store, "get_session", "gone", user_id="u") is None


def test_a_long_question_is_cut_and_no_title_is_stored_where_none_is_wanted(upstash: LocalUpstash) -> None:
    store = Store(upstash.url, upstash.token, index=True)
    _history(store, "long").add_messages([HumanMessage("word " * 100_000)])
    title = store.list_sessions().sessions[0].title
    assert title is not None
    assert (len(title), title[-1]) == (80, "…")
    secret = Store(upstash.url, upstash.token, index=True, titles=False)
    _history(secret, "s").add_messages([HumanMessage("my secret")])
    assert secret.list_sessions().sessions[0].title is None
    assert "secret" not in str(command(upstash, "HGETALL", index_keys(store.key_prefix).info))


@pytest.mark.parametrize("metadata", [{"a": "ü😀\n\x00"}, {"": None}, {"a": 10**30, "b": 1.5}, {"a": [[[{}]]]}])
def test_metadata_of_any_json_comes_back(store: Store, call: Call, metadata: dict[str, Any]) -> None:
    _history(store, "s", user_id="u").add_messages(QUESTION)
    assert call(store, "update_session", "s", user_id="u", metadata=metadata).metadata == metadata
    assert [session.metadata for session in call(store, "list_sessions", user_id="u").sessions] == [metadata]


@pytest.mark.parametrize("field", ["ss", "cs", "ts", "ms"])
@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 5000, "[" * 100_000, "[1]", "٣"])
def test_what_others_wrote_into_the_index_hides_no_session(
    store: Store, run: Callable[..., Any], field: str, value: str
) -> None:
    for session_id in ("s", "other"):
        _history(store, session_id, user_id="u").add_messages(QUESTION)
    run("HSET", index_keys(owner_of(store.key_prefix, "u")).info, field, value)
    assert _ids(store) == ["other", "s"]


def test_a_session_that_is_half_on_the_index_is_not_changed(store: Store, run: Callable[..., Any]) -> None:
    _history(store, "s", user_id="u").add_messages(QUESTION)
    keys = index_keys(owner_of(store.key_prefix, "u"))
    run("ZREM", keys.lasting, "s")
    with pytest.raises(SessionNotFound, match="Nothing was changed"):
        store.update_session("s", user_id="u", title="T")
    assert run("HKEYS", keys.info) == ["ss"]


def test_renaming_moves_no_session(store: Store) -> None:
    for session_id in ("a", "b"):
        _history(store, session_id, user_id="u").add_messages(QUESTION)
    store.update_session("a", user_id="u", title="T")
    assert _ids(store) == ["b", "a"]


@pytest.mark.parametrize("clear", ["clear", "delete_session"])
def test_what_is_cleared_is_not_listed(store: Store, run: Callable[..., Any], call: Call, clear: str) -> None:
    history = _history(store, "s", user_id="u")
    history.add_messages(QUESTION)
    store.update_session("s", user_id="u", title="T")
    run("RPUSH", companion_key("quarantine", history.key), "x")
    if clear == "clear":
        call(history, "clear")
    else:
        assert call(store, "delete_session", "s", user_id="u").existed
    assert _ids(store) == []
    left = [key for key in run("KEYS", "*") if not key.startswith("chatstash:clear:")]
    assert left == []
    again = call(history.session(), "append", QUESTION)
    assert (again.indexed, again.cost.requests, _ids(store)) == (True, 1, ["s"])


@pytest.mark.parametrize("ttl", [None, 60])
def test_a_key_of_another_type_is_not_listed(upstash: LocalUpstash, run: Callable[..., Any], ttl: int | None) -> None:
    store = Store(upstash.url, upstash.token, ttl=ttl)
    session = store.session("s", user_id="u")
    run("SET", session.key, "x")
    for _ in range(2):
        with pytest.raises(WrongType):
            session.append([Record("human", {"content": "hi"})])
    run("DEL", session.key)
    session.append([Record("human", {"content": "hi"})])
    run("DEL", session.key)
    run("SET", session.key, "x")
    with pytest.raises(WrongType):
        session.append([Record("human", {"content": "hi"})])
    assert _ids(store) == []
    assert run("GET", session.key) == "x"


@pytest.mark.parametrize("delivery", ["standard", "strict"])
def test_an_index_that_cannot_be_written_does_not_stop_an_append(
    upstash: LocalUpstash, run: Callable[..., Any], delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(upstash.url, upstash.token)
    run("SET", index_keys(owner_of(store.key_prefix, "u")).lasting, "x")
    session = store.session("s", user_id="u", delivery=delivery)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "chatstash"):
        result = session.append([Record("human", {"content": "hi"})])
    assert result.indexed is False
    assert "were stored, but the session index was not updated" in caplog.text
    assert len(session.read().items) == 1


def test_a_server_that_lacks_a_command_of_the_index_does_not_stop_an_append(
    upstash: LocalUpstash, call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(IndexEntry, "_refreshing_fields", lambda self, ttl: (("NO.SUCH.COMMAND", self.keys.info),))
    store = Store(upstash.url, upstash.token, ttl=600)
    session = store.session("s", user_id="u")
    for number in range(1, 4):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "chatstash"):
            result = call(session, "append", [Record("human", {"content": "hi"})])
        assert (result.length, result.indexed) == (number, False)
        assert "needs HEXPIRE" in caplog.text
    assert command(upstash, "TTL", session.key) > 0
    assert len(session.read().items) == 3


def test_the_old_class_reads_the_conversation_of_a_user(upstash: LocalUpstash, store: Store) -> None:
    community = pytest.importorskip("langchain_community.chat_message_histories")
    _history(store, "s", user_id="a/b").add_messages(QUESTION)
    old = community.UpstashRedisChatMessageHistory("@a%2Fb/s", url=upstash.url, token=upstash.token)
    assert [message.content for message in old.messages] == ["What is 6 * 7?", "42"]
    old.redis_client.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.list_sessions(limit=0),
        lambda store: store.list_sessions(limit=1001),
        lambda store: store.list_sessions(limit=True),
        lambda store: store.list_sessions(user_id=""),
        lambda store: store.list_sessions(user_id=7),
        lambda store: store.list_sessions(cursor="x"),
        lambda store: store.list_sessions(cursor=7),
        lambda store: store.get_session("", user_id="u"),
        lambda store: store.get_session("@u/s"),
        lambda store: store.session("@u/s"),
        lambda store: store.session("s", user_id="u" * 33_000),
        lambda store: store.session("s" * 30_000, user_id="u" * 3_000),
        lambda store: store.session("s", user_id="\ud800"),
        lambda store: store.update_session("s"),
        lambda store: store.update_session("s", title=""),
        lambda store: store.update_session("s", title=" \n"),
        lambda store: store.update_session("s", title="x" * 1001),
        lambda store: store.session("s", user_id="u", ttl=61),
        lambda store: UpstashRedisChatMessageHistory("s", user_id="u", ttl=61, store=store),
        lambda store: UpstashRedisChatMessageHistory("@u/s", store=store),
        lambda store: Store("https://h", "t", index=1),
    ],
)
def test_bad_arguments_send_nothing(upstash: LocalUpstash, use: Callable[[Store], Any]) -> None:
    store = Store(upstash.url, upstash.token, ttl=60)
    before = upstash.stats.requests
    with pytest.raises(ValueError):
        use(store)
    assert upstash.stats.requests == before


def test_a_cursor_of_another_user_is_refused(store: Store) -> None:
    for session_id in ("a", "b"):
        _history(store, session_id, user_id="u").add_messages(QUESTION)
    cursor = store.list_sessions(user_id="u", limit=1).next_cursor
    with pytest.raises(ValueError, match="another user's sessions"):
        store.list_sessions(user_id="v", cursor=cursor)


@pytest.mark.parametrize(
    "metadata",
    [{"a": {1, 2}}, {1: 2}, [1], {"a": "x" * 70_000}, {"a": float("nan")}, {"a": [float("inf")]}, {"a": "\ud800"}],
)
def test_metadata_that_cannot_be_stored(store: Store, metadata: Any) -> None:
    with pytest.raises(UnstorableMessage, match="metadata"):
        store.update_session("s", user_id="u", metadata=metadata)


_ids_of_any_kind = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ["@", "/", "@u/", "@u", "u/", "%2F", "@%40/", "a/b", "..", "\n", "*"]
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.none() | _ids_of_any_kind, _ids_of_any_kind), min_size=2, max_size=2, unique=True))
def test_no_two_sessions_share_a_key(pairs: list[tuple[str | None, str]]) -> None:
    keys = []
    for user_id, session_id in pairs:
        try:
            key = conversation_key(session_id, "p:", user_id)
        except ValueError:
            assert user_id is None
            return
        named = owned(key, "p:")
        assert named is not None
        assert (named.user_id, named.session_id) == (user_id, session_id)
        keys += [key, *index_keys(owner_of("p:", user_id)), companion_key("draft", key)]
    if pairs[0][0] == pairs[1][0]:
        assert keys[0] != keys[5]
    else:
        assert not {*keys[:5]} & {*keys[5:]}


@pytest.mark.parametrize("ttl", [None, 600])
def test_replacing_all_messages_is_an_append(upstash: LocalUpstash, run: Callable[..., Any], ttl: int | None) -> None:
    store = Store(upstash.url, upstash.token, ttl=ttl)
    for session_id in ("a", "b"):
        _history(store, session_id, user_id="u").add_messages(QUESTION)
    keys = index_keys(owner_of(store.key_prefix, "u"))
    if ttl:
        run("HEXPIRE", keys.info, 5, "FIELDS", 1, "sa")
    store.session("a", user_id="u").replace([Record("human", {"content": "new"})])
    assert _ids(store) == ["a", "b"]
    if ttl:
        assert run("HTTL", keys.info, "FIELDS", 1, "sa")[0] > 500
    store.close()


def test_an_expiry_that_the_doctor_sets_holds_for_the_index(store: Store, run: Callable[..., Any]) -> None:
    history = _history(store, "s", user_id="u")
    history.add_messages(QUESTION)
    with contextlib.closing(Doctor(store, why_unreadable)) as doctor:
        assert doctor.set_expiry(history.key, 50)
        assert not doctor.set_expiry(history.key, 70)
        assert not doctor.set_expiry("x" * 32_000, 70)
    assert 0 < run("HTTL", index_keys(owner_of(store.key_prefix, "u")).info, "FIELDS", 1, "ss")[0] <= 50
