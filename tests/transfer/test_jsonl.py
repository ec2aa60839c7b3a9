"""JSON Lines: out and back, byte for byte; malformed lines are reported, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import RemoveMessage

from chatstash import ConversationExists, Record, Store, UpstashRedisChatMessageHistory, WrongType
from chatstash.history.operations.contents import entries_of
from chatstash.history.records.record import new_record_ids
from chatstash.local import LocalUpstash
from chatstash.transfer import ImportProblem, aimport_jsonl, export_jsonl, import_jsonl
from tests import strategies
from tests.transfer.support import Transfer, store_of, stored

Run = Callable[..., Any]

FOREIGN = b'{"type": "human", "data": {"content": "caf\\u00e9", "n": 12345678901234567890123}}'
ODD = [
    FOREIGN,
    b"damaged",
    b"\xff\xfe not text",
    b'{"type":"human",\n"data":{}}',
    '{"type":"human","data":{"content":"a\u2028b"}}'.encode(),
    b'{"type":"human","data":{"content":NaN}}',
    b'{"type":"ai","data":{},"v":9}',
    b"[1]",
    b' {"type":"human","data":{}} ',
]


@pytest.fixture
def store(upstash: LocalUpstash) -> Iterator[Store]:
    with store_of(upstash) as opened:
        yield opened


def _fill(store: Store, name: str, raws: list[bytes]) -> None:
    store.session(name).restore(entries_of(raws, "k"))


def _line(number: int, text: str = "a") -> str:
    return json.dumps({"n": number, "record": {"type": "human", "data": {"content": text}}})


def _header(name: str = "s", **more: Any) -> str:
    return json.dumps({"format": "chatstash-conversation", "version": 1, "session_id": name, **more})


def test_a_conversation_comes_back_byte_for_byte(store: Store, do: Transfer) -> None:
    history = UpstashRedisChatMessageHistory("s", store=store)
    history.add_messages([each for each in strategies.EVERY_KIND if not isinstance(each, RemoveMessage)])
    _fill(store, "odd", ODD)
    for name in ("s", "odd"):
        lines = do("export_jsonl", store.session(name))
        before = stored(store, name)
        store.session(name).clear()
        report = do("import_jsonl", store, lines)
        assert stored(store, name) == before
        assert ([each.session_id for each in report.imported], report.skipped, report.errors) == ([name], [], [])
        assert report.imported[0].records == len(before)


def test_the_lines_are_json_and_tell_ids_and_times(store: Store, do: Transfer) -> None:
    record_id = store.session("s").append([Record("human", {"content": "ü"})]).record_ids[0]
    store.session("s").append([Record("ai", {"content": "x"})])
    header, first, second = map(json.loads, do("export_jsonl", store.session("s")))
    assert header["format"] == "chatstash-conversation"
    assert (header["version"], header["session_id"], header["user_id"]) == (1, "s", None)
    assert (first["n"], first["id"], first["time_ms"]) == (0, str(record_id), record_id.time_ms)
    assert first["record"]["data"] == {"content": "ü"}
    assert second["n"] == 1


def test_an_export_changes_nothing_and_hides_duplicates(store: Store, do: Transfer, run: Run) -> None:
    (rid,) = new_record_ids(1, time_ms=1, randomness=b"x" * 6)
    twice = b'{"type":"human","data":{"content":"twice"},"rid":"%s"}' % str(rid).encode()
    same = b'{"type":"human","data":{"content":"foreign"}}'
    raws = [twice, same, same, twice, b'{"type":"ai","data":{}}']
    _fill(store, "s", raws)
    lines = do("export_jsonl", store.session("s"))
    assert run("LRANGE", store.session("s").key, 0, -1) == [raw.decode() for raw in reversed(raws)]
    do("import_jsonl", store, lines, session_id="t")
    assert stored(store, "t") == [twice, same, same, raws[-1]]


def test_a_large_conversation_is_read_in_slices(store: Store, do: Transfer) -> None:
    session = store.session("s")
    for _ in range(3):
        session.append([Record("human", {"content": f"{number}" * 100}) for number in range(600)])
    before = store.stats().requests
    lines = do("export_jsonl", session)
    assert store.stats().requests - before == 3
    assert len(lines) == 1801
    do("import_jsonl", store, lines, session_id="t")
    assert stored(store, "t") == stored(store, "s")


def test_an_export_streams_while_others_append_and_trim(store: Store) -> None:
    session = store.session("s")
    ids = session.append([Record("human", {"content": str(number)}) for number in range(300)]).record_ids
    session.append([Record("human", {"content": "more"}) for _ in range(300)])
    lines = export_jsonl(session)
    for _ in range(257):
        next(lines)
    store.session("s", max_stored_messages=590).append([Record("ai", {"content": "new"})])
    rest = [json.loads(line) for line in lines]
    assert rest[0]["id"] == str(ids[256])
    assert len(rest) == 345
    assert rest[-1]["record"]["data"]["content"] == "new"


def test_a_key_of_another_type_is_named_and_left_alone(store: Store, do: Transfer, run: Run) -> None:
    run("SET", "message_store:s", "x")
    with pytest.raises(WrongType, match="'message_store:s' holds a value that is not a list"):
        do("export_jsonl", store.session("s"))
    with pytest.raises(WrongType, match="left as it was"):
        do("import_jsonl", store, [_header("s"), _line(0)])
    assert run("GET", "message_store:s") == "x"


def test_an_export_of_nothing_is_a_header(store: Store, do: Transfer) -> None:
    assert len(do("export_jsonl", store.session("none"))) == 1
    report = do("import_jsonl", store, [_header("none")])
    assert report.skipped[0][:2] == ("none", "it has no records")


def test_many_conversations_are_imported_and_those_that_exist_are_left(store: Store, do: Transfer) -> None:
    _fill(store, "b", [FOREIGN])
    lines = [_header("a"), _line(0), _line(1), _header("b"), _line(0), _header("c"), _line(0)]
    with pytest.raises(ConversationExists, match="exists already") as caught:
        do("import_jsonl", store, lines)
    assert [each.session_id for each in caught.value.report.imported] == ["a"]
    report = do("import_jsonl", store, lines, if_exists="skip")
    assert [each.session_id for each in report.imported] == ["c"]
    assert [each.session_id for each in report.skipped] == ["a", "b"]
    assert stored(store, "b") == [FOREIGN]
    assert json.loads(json.dumps(report.to_dict()))["imported"] == [{"session_id": "c", "user_id": None, "records": 1}]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{not json", "it is not valid JSON"),
        ("[1]", "it is a JSON list"),
        ("{}", "neither a record nor raw"),
        ('{"raw":"%"}', "raw is not valid base64"),
        ('{"n":-1,"raw":""}', "n must be a number"),
        ('{"n":1,"record":{"type":1}}', "its record cannot be read"),
        (b"\xff", "it is not UTF-8"),
        ('{"format":"other"}', "its format is 'other'"),
        (_header("x").replace("1", "2"), "its version is 2"),
        ('{"format":"chatstash-conversation","version":1}', "it has no session_id"),
        (_header("x", title=3), "its title is a int"),
    ],
)
def test_malformed_lines_are_reported(store: Store, do: Transfer, bad: str | bytes, reason: str) -> None:
    lines = [_header("a"), _line(0), bad, _line(2), "", _header("b"), _line(0)]
    report = do("import_jsonl", store, lines)
    assert reason in report.errors[0].reason
    assert (report.errors[0].line, report.errors[0].session_id) == (3, "a")
    assert [each.session_id for each in report.imported] == ["b"]
    assert report.skipped[0][:2] == ("a", "it has malformed lines")
    report = do("import_jsonl", store, lines, if_exists="skip", on_malformed="skip")
    assert [each.records for each in report.imported] == [2]
    assert report.errors[0].line == 3


def test_missing_lines_are_noticed(store: Store, do: Transfer) -> None:
    report = do("import_jsonl", store, [_header("a"), _line(0), _line(3)])
    assert "the records 1 to 2 of its conversation are missing" in report.errors[0].reason
    assert (report.errors[0].line, report.imported) == (3, [])


def test_records_without_their_header_go_to_no_other_conversation(store: Store, do: Transfer) -> None:
    for lost in ([], ["{broken header"]):
        lines = [_header("a"), _line(0, "a0"), *lost, _line(0, "b0"), _line(1, "b1"), _header("c"), _line(0, "c0")]
        report = do("import_jsonl", store, lines, on_malformed="skip")
        assert [each.session_id for each in report.imported] == ["a", "c"]
        assert "records from this line on follow no header" in report.errors[-1].reason
        assert report.errors[-1].line == 3 + len(lost)
        assert b"a0" in b"".join(stored(store, "a"))
        assert len(stored(store, "a")) == 1
        store.session("a").clear()
        store.session("c").clear()


def test_lines_that_another_program_wrote_anew_are_imported(store: Store, do: Transfer) -> None:
    history = UpstashRedisChatMessageHistory("s", store=store)
    history.add_messages(strategies.EVERY_KIND[:3])
    changed = [json.dumps(json.loads(line), sort_keys=True) + "\r\n" for line in do("export_jsonl", store.session("s"))]
    do("import_jsonl", store, ["\ufeff" + changed[0], *changed[1:]], session_id="t")
    assert store.session("t").records() == store.session("s").records()
    assert all(b',"rid":"' in raw[-40:] for raw in stored(store, "t"))


def test_lines_come_from_files_and_streams(store: Store, tmp_path: Any) -> None:
    _fill(store, "s", ODD)
    path = tmp_path / "s.jsonl"
    with path.open("w", newline="\n") as file:
        file.writelines(line + "\n" for line in export_jsonl(store.session("s")))
    with path.open("rb") as file:
        import_jsonl(store, file, session_id="t")
    assert stored(store, "t") == ODD

    async def lines() -> AsyncIterator[str]:
        for line in path.read_text().splitlines():
            yield line

    async def imported() -> None:
        await aimport_jsonl(store, lines(), session_id="u")
        with pytest.raises(ValueError, match="use aimport_jsonl"):
            import_jsonl(store, lines())  # type: ignore[arg-type]

    asyncio.run(imported())
    assert stored(store, "u") == ODD


@pytest.mark.parametrize(
    ("lines", "options", "reason"),
    [
        ("text", {}, "must be an iterable of lines"),
        (7, {}, "must be an iterable of lines"),
        ([7], {}, "line 1 is a int"),
        ([], {"if_exists": "replace"}, "if_exists must be"),
        ([], {"on_malformed": "raise"}, "on_malformed must be"),
        ([], {"session_id": ""}, "session_id must be"),
        ([], {"user_id": 7}, "user_id must be"),
    ],
)
def test_bad_arguments_are_refused(store: Store, do: Transfer, lines: Any, options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match="session must be a Session"):
        do("export_jsonl", UpstashRedisChatMessageHistory("s", store=store))
    with pytest.raises(ValueError, match=reason):
        do("import_jsonl", store, lines, **options)


def test_a_record_over_the_limit_and_a_second_conversation_are_reported(store: Store, do: Transfer) -> None:
    report = do("import_jsonl", store, [_header("a"), _line(0, "x" * 100_000), _header("b"), _line(0)], session_id="c")
    assert report.errors[0].session_id == "c"
    assert "Message 0 alone makes a request" in report.errors[0].reason
    assert "session_id= names only one" in report.skipped[0].reason
    assert report.imported == []
    assert isinstance(report.errors[0], ImportProblem)


def test_a_user_and_the_index_go_out_and_come_back(upstash: LocalUpstash, do: Transfer) -> None:
    with store_of(upstash) as store:
        session = store.session("s", user_id="ada@x/y")
        session.append([Record("human", {"content": "What is it?"})])
        session.append([Record("ai", {"content": "That."})])
        info = store.update_session("s", user_id="ada@x/y", title="By hand", metadata={"pinned": True})
        lines = do("export_jsonl", session)
        assert json.loads(lines[0]).items() >= {**info.to_dict(), "version": 1}.items()
        session.clear()
        report = do("import_jsonl", store, lines)
        back = store.get_session("s", user_id="ada@x/y")
        assert back is not None
        assert back._replace(updated_at=0) == info._replace(updated_at=0)
        assert back.updated_at == store.session("s", user_id="ada@x/y").records()[-1].time_ms
        assert (report.imported[0].user_id, report.skipped) == ("ada@x/y", [])
        do("import_jsonl", store, lines, user_id="bob")
        assert [each.title for each in store.list_sessions(user_id="bob").sessions] == ["By hand"]


def test_records_without_times_keep_those_of_the_header(store: Store, do: Transfer) -> None:
    lines = [_header(user_id="u", created_at=1000, updated_at=2000), _line(0)]
    assert len(do("import_jsonl", store, lines).imported) == 1
    info = store.get_session("s", user_id="u")
    assert info is not None
    assert (info.created_at, info.updated_at) == (1000, 2000)


def test_a_title_expires_with_its_session(upstash: LocalUpstash, do: Transfer, run: Run) -> None:
    with store_of(upstash, ttl=60) as store:
        do("import_jsonl", store, [_header("s", title="T", metadata={"a": 1}), _line(0)], user_id="ada")
        (info,) = run("KEYS", "chatstash:session-info:*")
        left = run("HTTL", info, "FIELDS", 3, "ss", "ts", "ms")
        assert all(0 < seconds <= 60 for seconds in left)
        assert store.get_session("s", user_id="ada").metadata == {"a": 1}  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["reply_lost", "request_lost", "throttled", "server_error", "reset"])
def test_every_conversation_is_stored_once_whatever_fails(
    upstash: LocalUpstash, store: Store, do: Transfer, kind: str
) -> None:
    lines = [line for name in "abc" for line in (_header(name), _line(0, name), _line(1, name))]
    upstash.faults.next(kind, times=2)
    report = do("import_jsonl", store, lines)
    assert [each.records for each in report.imported] == [2, 2, 2]
    assert [len(stored(store, name)) for name in "abc"] == [2, 2, 2]
    upstash.faults.next(kind)
    assert len(do("export_jsonl", store.session("a"))) == 3


def test_a_title_that_cannot_be_kept_is_reported(store: Store, do: Transfer) -> None:
    report = do("import_jsonl", store, [_header("a", title="T", metadata={"a": 1}), _line(0, "q")])
    assert report.skipped == [("a", "the session is on no index, so these were left out: title, metadata", None)]
    report = do("import_jsonl", store, [_header("b", title="x" * 2000), _line(0, "q")], user_id="ada")
    assert "it was left out: title must be" in report.errors[0].reason
    report = do("import_jsonl", store, [_header("c", title="q"), _line(0, "q")], user_id="ada")
    assert (report.skipped, report.errors, len(report.imported)) == ([], [], 1)
    report = do("import_jsonl", store, [_header("@a/b"), _line(0)])
    assert "belongs to a user" in report.errors[0].reason


_numbers = iter(range(10**9))


@given(
    st.lists(
        st.binary(min_size=1, max_size=30)
        | st.sampled_from(ODD)
        | st.builds(
            lambda data, spaced: json.dumps({"type": "human", "data": data}, ensure_ascii=spaced).encode(
                "utf-8", "replace"
            ),
            st.dictionaries(st.text(max_size=5), strategies.JSON_VALUES, max_size=3),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_stored_goes_out_and_comes_back(store: Store, raws: list[bytes]) -> None:
    name = f"any-{next(_numbers)}"
    _fill(store, name, raws)
    text = "\n".join(export_jsonl(store.session(name)))
    assert len(text.splitlines()) == len(raws) + 1
    report = import_jsonl(store, text.splitlines(), session_id=f"{name}-back")
    assert (report.errors, report.skipped) == ([], [])
    assert stored(store, f"{name}-back") == raws


@given(st.lists(st.lists(strategies.message(), min_size=1, max_size=3), min_size=1, max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_messages_keep_their_ids_and_times(store: Store, batches: list[Any]) -> None:
    name = f"messages-{next(_numbers)}"
    history = UpstashRedisChatMessageHistory(name, store=store)
    for batch in batches:
        history.add_messages(batch)
    import_jsonl(store, export_jsonl(history.session()), session_id=f"{name}-back")
    back = UpstashRedisChatMessageHistory(f"{name}-back", store=store).read()
    assert [(record.id, record.time) for record in back.records] == [
        (record.id, record.time) for record in history.read().records
    ]
    assert strategies.equal(back.messages, history.messages)
