"""ChatGPT's data export: what is in it becomes messages, and what cannot is reported."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from chatstash.transfer import ChatGPTConversation, read_chatgpt_export, to_markdown, to_openai
from chatstash.transfer.chatgpt.reading import ChatGPTSource
from tests.transfer.support import Transfer, store_of

T0 = 1_700_000_000.25


@pytest.fixture
def store(upstash: LocalUpstash) -> Iterator[Store]:
    with store_of(upstash, index=True) as opened:
        yield opened


def _message(role: str, content: Any, number: int = 0, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
    return {"id": f"m{number}", "author": {"role": role}, "create_time": T0 + number, "content": content, **more}


def _chain(*messages: dict[str, Any] | None, name: str = "c1", **more: Any) -> dict[str, Any]:
    """A conversation whose nodes follow each other, without `children`, as newer exports have them."""
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None}}
    parent = "root"
    for number, message in enumerate(messages):
        node = f"n{number}"
        mapping[node] = {"id": node, "message": message, "parent": parent}
        parent = node
    return {"id": name, "conversation_id": name, "title": "A chat", "mapping": mapping, "current_node": parent} | more


def _export(path: Path, *conversations: Any, name: str = "conversations.json") -> Path:
    path.mkdir(exist_ok=True)
    (path / name).write_text(json.dumps(list(conversations)))
    return path


def _only(path: Path, *conversations: Any) -> ChatGPTConversation:
    (found,) = read_chatgpt_export(_export(path, *conversations))
    return found


HIDDEN = _message("system", "", 0, weight=0.0, metadata={"is_visually_hidden_from_conversation": True})
CONTEXT = _message("user", {"content_type": "user_editable_context", "user_profile": "x", "user_instructions": "y"}, 1)
PICTURE = {
    "content_type": "multimodal_text",
    "parts": [{"content_type": "image_asset_pointer", "asset_pointer": "file-service://f1"}, "What is this?"],
}


def test_a_conversation_has_messages_times_and_a_title(tmp_path: Path) -> None:
    found = _only(
        tmp_path,
        _chain(
            HIDDEN,
            CONTEXT,
            _message("user", PICTURE, 2),
            _message("assistant", {"content_type": "thoughts", "thoughts": []}, 3),
            _message("assistant", "A cat.", 4, metadata={"model_slug": "gpt-5"}),
            _message("user", {"content_type": "text", "parts": ["and", "now"]}, 5, create_time=None),
            create_time=T0,
            update_time=T0 + 9,
        ),
    )
    assert (found.id, found.title, found.created_at, found.updated_at) == (
        "c1",
        "A chat",
        1_700_000_000_250,
        1_700_000_009_250,
    )
    assert found.messages == [
        HumanMessage("[image: file-service://f1]\nWhat is this?", id="m2"),
        AIMessage("A cat.", id="m4", response_metadata={"model_name": "gpt-5"}),
        HumanMessage("and\nnow", id="m5"),
    ]
    assert found.times == [1_700_000_002_250, 1_700_000_004_250, None]
    assert {(each.message_id, each.reason) for each in found.skipped} == {
        ("n0", "it is hidden from the conversation"),
        ("n1", "it is the user's custom instructions"),
        ("n2", "its image is only named"),
        ("n3", "it is reasoning"),
    }
    records = found.records()
    assert [record.time_ms for record in records] == found.times
    assert records == found.records()


def test_tool_calls_are_followed_by_their_result(tmp_path: Path) -> None:
    code = {"content_type": "code", "language": "python", "text": "1 + 1"}
    output = {"content_type": "execution_output", "text": "2"}
    quote = {"content_type": "tether_quote", "url": "https://x.example", "title": "X", "text": "quoted"}
    search = {"content_type": "code", "language": "unknown", "text": '{"q": "x"}'}
    found = _only(
        tmp_path,
        _chain(
            _message("user", "Compute", 0),
            _message("assistant", code, 1, recipient="python"),
            _message("tool", output, 2),
            _message("assistant", search, 3, recipient="web.run"),
            _message("tool", {"content_type": "tether_browsing_display", "result": "", "summary": ""}, 4),
            _message("tool", quote, 5),
            _message("tool", {"content_type": "system_error", "name": "E", "text": "failed"}, 6),
            _message("assistant", code, 7, recipient="all"),
            _message("assistant", "lost", 8, recipient="bio"),
            _message("assistant", "Done", 9, recipient="all"),
            _message("tool", "orphan", 10),
        ),
    )
    assert found.messages == [
        HumanMessage("Compute", id="m0"),
        AIMessage("", id="m1", tool_calls=[{"name": "python", "args": {"input": "1 + 1"}, "id": "m1"}]),
        ToolMessage("2", tool_call_id="m1", name="python", id="m2"),
        AIMessage("", id="m3", tool_calls=[{"name": "web_run", "args": {"q": "x"}, "id": "m3"}]),
        ToolMessage(
            "X\nhttps://x.example\nquoted\n\nfailed", tool_call_id="m3", name="web_run", id="m5", status="error"
        ),
        AIMessage("```python\n1 + 1\n```", id="m7"),
        AIMessage("Done", id="m9"),
    ]
    assert [(each.message_id, each.reason) for each in found.skipped] == [
        ("n4", "it is empty"),
        ("n8", "it is a call of a tool without a result"),
        ("n10", "it is the result of a tool without its call"),
    ]
    assert [each["role"] for each in to_openai(found.messages)][:3] == ["user", "assistant", "tool"]


def test_only_the_current_branch_counts(tmp_path: Path) -> None:
    conversation = _chain(_message("user", "q", 0), _message("assistant", "new", 1))
    conversation["mapping"]["old"] = {"message": _message("assistant", "old", 9), "parent": "n0", "children": []}
    found = _only(tmp_path, conversation)
    assert [message.content for message in found.messages] == ["q", "new"]
    assert found.skipped[-1].reason == "messages on other branches: 1"
    # Without current_node, the branch that was written last.
    for current in (None, "no such node", 7):
        found = _only(tmp_path, conversation | {"current_node": current})
        assert [message.content for message in found.messages] == ["q", "old"]


def test_broken_trees_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    cut = _chain(_message("user", "q", 0), _message("assistant", "a", 1))
    del cut["mapping"]["root"]
    cycle = _chain(_message("user", "q", 0), _message("assistant", "a", 1))
    cycle["mapping"]["n0"]["parent"] = "n1"
    for conversation, reasons in ((cut, ["the messages before the first are missing in the export"]), (cycle, [])):
        found = _only(tmp_path, conversation)
        assert [message.content for message in found.messages] == ["q", "a"]
        assert [each.reason for each in found.skipped] == reasons


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({}, "its author is 'None'"),
        ({"author": {"role": "critic"}}, "its author is 'critic'"),
        ({"author": {"role": "user"}}, "it has no content"),
        ({"author": {"role": "user"}, "content": {}}, "its content is of the type 'None', which has no text"),
        ({"author": None, "content": None}, "its author is 'None'"),
        (_message("system", ""), "it is empty"),
        (_message("user", {"content_type": "text", "parts": None}), "it is empty"),
        (
            _message("user", {"content_type": "text", "parts": [None, 7, {"a": 1}]}),
            "a part of the type 'int' was left out; ",
        ),
        (_message("assistant", {"content_type": "app_pairing_content", "x": 1}), "of the type 'app_pairing_content'"),
        (_message("assistant", "x", channel="analysis"), "it is reasoning"),
        (_message("assistant", {"content_type": "reasoning_recap", "content": "Thought for 5s"}), "it is reasoning"),
        (_message("assistant", "", recipient="python"), "it is empty"),
    ],
)
def test_what_cannot_be_represented_is_reported(tmp_path: Path, message: Any, reason: str) -> None:
    found = _only(tmp_path, _chain(message))
    assert found.messages == []
    assert reason in found.skipped[0].reason
    assert found.skipped[0][::2] == ("c1", "n0")
    assert found.skipped[-1].reason == "it has no messages that can be represented"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ({"parts": ["no type"]}, "no type"),
        ({"content_type": "new_type", "text": "some text"}, "some text"),
        (
            {"content_type": "multimodal_text", "parts": [{"content_type": "audio_transcription", "text": "spoken"}]},
            "spoken",
        ),
        ({"content_type": "multimodal_text", "parts": [{"content_type": "audio_asset_pointer"}]}, "[audio]"),
    ],
)
def test_missing_fields_and_new_types_are_read(tmp_path: Path, content: Any, text: str) -> None:
    found = _only(tmp_path, _chain({"author": {"role": "user"}, "content": content, "create_time": "yesterday"}))
    assert found.messages == [HumanMessage(text)]
    assert found.times == [None]
    assert found.records()[0].id is None
    system = _only(tmp_path, _chain(_message("system", "Be terse.")))
    assert system.messages == [SystemMessage("Be terse.", id="m0")]


def _zip(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def _text(*names: str) -> str:
    return json.dumps([_chain(_message("user", name), name=name) for name in names])


def test_exports_come_as_zip_folder_or_file(tmp_path: Path) -> None:
    files = {
        "export/conversations-001.json": _text("c", "d"),
        "export/conversations-000.json": "\ufeff" + _text("a", "b"),
        "export/shared_conversations.json": _text("no"),
        "export/user.json": "{}",
    }
    archive = _zip(tmp_path / "export.zip", files)
    folder = tmp_path / "folder"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for path in (archive, str(archive), folder):
        assert [each.id for each in read_chatgpt_export(path)] == ["a", "b", "c", "d"]
    assert [each.id for each in read_chatgpt_export(folder / "export" / "conversations-001.json")] == ["c", "d"]
    one = _export(tmp_path / "one") / "conversations.json"
    one.write_text(json.dumps({"conversations": json.loads(_text("x"))}))
    assert [each.id for each in read_chatgpt_export(one)] == ["x"]
    one.write_text(json.dumps(_chain(_message("user", "y"), name="y")))
    assert [each.id for each in read_chatgpt_export(one)] == ["y"]


def test_what_is_no_export_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(read_chatgpt_export(tmp_path / "missing"))
    for path in (tmp_path, _zip(tmp_path / "a.zip", {"user.json": "{}"})):
        with pytest.raises(ValueError, match=r"it has no conversations\.json"):
            next(read_chatgpt_export(path))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not a zip, a folder or a JSON file"):
        next(read_chatgpt_export(tmp_path / "text"))
    for wrong in (7, "", None):
        with pytest.raises(ValueError, match="path must be"):
            next(read_chatgpt_export(wrong))  # type: ignore[arg-type]


def test_bad_files_and_entries_are_reported_and_the_others_read(store: Store, do: Transfer, tmp_path: Path) -> None:
    path = _zip(
        tmp_path / "export.zip",
        {
            "conversations-000.json": "[{",
            "conversations-001.json": json.dumps([7, {"title": "T", "mapping": {}}, {"id": "empty", "mapping": None}]),
            "conversations-002.json": '"text"',
            "conversations-003.json": _text("good"),
        },
    )
    data = bytearray(path.read_bytes())
    report = do("import_chatgpt", store, path)
    assert [each.session_id for each in report.imported] == ["good"]
    assert [(each.file, each.reason) for each in report.errors] == [
        ("conversations-000.json", report.errors[0].reason),
        ("conversations-001.json", "an entry is a JSON int, not a conversation"),
        ("conversations-001.json", "a conversation has no id; its title is 'T'"),
        ("conversations-002.json", "it is a JSON str, not a list of conversations"),
    ]
    assert "it is not valid JSON" in report.errors[0].reason
    assert report.skipped == [("empty", "it has no messages", None)]
    data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    report = do("import_chatgpt", store, path)
    assert "it cannot be unpacked" in report.errors[0].reason


def test_an_import_keeps_titles_and_times_and_adds_nothing_the_second_time(
    store: Store, do: Transfer, tmp_path: Path
) -> None:
    path = _export(
        tmp_path,
        _chain(_message("user", "Question", 0), _message("assistant", "Answer", 60)),
        _chain(_message("user", "Other", 5), name="c2", title=None),
        _chain(HIDDEN, name="c3"),
    )
    report = do("import_chatgpt", store, path, user_id="ada")
    assert [tuple(each) for each in report.imported] == [("c1", "ada", 2), ("c2", "ada", 1)]
    assert [(each.session_id, each.message_id) for each in report.skipped] == [("c3", "n0"), ("c3", None)]
    sessions = store.list_sessions(user_id="ada").sessions
    assert [(each.session_id, each.title, each.created_at, each.updated_at) for each in sessions] == [
        ("c1", "A chat", 1_700_000_000_250, 1_700_000_060_250),
        ("c2", "Other", 1_700_000_005_250, 1_700_000_005_250),
    ]
    history = UpstashRedisChatMessageHistory("c1", user_id="ada", store=store)
    assert [message.content for message in history.messages] == ["Question", "Answer"]
    before = history.read().records
    history.add_messages([HumanMessage("more")])
    report = do("import_chatgpt", store, path, user_id="ada")
    assert (report.imported, [each.session_id for each in report.skipped]) == ([], ["c1", "c2", "c3", "c3"])
    assert history.read().records[:2] == before
    assert len(history.messages) == 3


def test_reading_streams_in_both_colours_and_stops_early(do: Transfer, tmp_path: Path) -> None:
    path = _zip(tmp_path / "e.zip", {f"conversations-{n}.json": _text(f"a{n}", f"b{n}") for n in range(3)})
    assert [each.id for each in do("read_chatgpt_export", path)] == ["a0", "b0", "a1", "b1", "a2", "b2"]
    source = ChatGPTSource(path)
    assert asyncio.run(source.anext_conversation()) is not None
    source.close()
    assert source.next_conversation() is None


def test_bad_arguments_are_refused(store: Store, do: Transfer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="user_id must be"):
        do("import_chatgpt", store, tmp_path, user_id="")
    with pytest.raises(ValueError, match="it has no conversations"):
        do("import_chatgpt", store, tmp_path)


_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["n0", "n1", "all", "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_OR_ANY = st.integers(0, 9)


def _mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return _OR_ANY.flatmap(lambda number: usual if number else _ANY)


_CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "content_type": _mostly(st.sampled_from(["text", "code", "multimodal_text", "thoughts", "execution_output"])),
        "parts": _mostly(st.lists(_mostly(st.text(max_size=5)), max_size=3)),
        "text": _mostly(st.text(max_size=5)),
        "language": _ANY,
    },
)
_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": _mostly(st.text(max_size=5)),
        "author": _mostly(
            st.fixed_dictionaries({"role": _mostly(st.sampled_from(["user", "assistant", "tool", "system"]))})
        ),
        "content": _mostly(_CONTENTS),
        "create_time": _mostly(st.floats(0, 2e9)),
        "recipient": _mostly(st.sampled_from(["all", "python", "web.run"])),
        "metadata": _mostly(st.just({})),
        "weight": _ANY,
    },
)
_NODES = st.fixed_dictionaries(
    {"parent": _mostly(st.sampled_from(["n0", "n1", "n2", "n3", None])), "message": _mostly(_MESSAGES)}
)


@given(
    st.dictionaries(st.sampled_from(["n0", "n1", "n2", "n3"]), _mostly(_NODES), max_size=4),
    _mostly(st.sampled_from(["n0", "n1", "n2", "n3"])),
)
@settings(max_examples=150)
def test_any_tree_is_read(tmp_path_factory: Any, mapping: Any, current: Any) -> None:
    path = tmp_path_factory.mktemp("export")
    conversation = {"id": "c", "mapping": mapping, "current_node": current}
    found = _only(path, conversation)
    assert found.id == "c"
    assert found.records() == found.records()
    assert to_markdown(found.messages)
    calls = [call["id"] for message in found.messages for call in getattr(message, "tool_calls", [])]
    assert calls == [message.tool_call_id for message in found.messages if isinstance(message, ToolMessage)]
    assert found.messages or found.skipped
