"""The output of a stream, put together of its parts: nothing that was shown is lost, and no part is refused."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessageChunk,
    HumanMessage,
    ToolMessage,
)
from langchain_core.runnables import AddableDict

from chatstash.langchain.runnable.chunks import output_from_chunks
from chatstash.langchain.runnable.inputs_outputs import output_messages

A = AIMessageChunk
CALL: list[Any] = [
    {"name": "w", "args": '{"ci', "id": "c", "index": 0},
    {"name": None, "args": 'ty": 1}', "id": None, "index": 0},
]


def _texts(parts: list[Any]) -> list[Any]:
    output = output_from_chunks(parts)
    held = next(iter(output.values())) if isinstance(output, dict) else output
    return [message.content for message in output_messages(held)]


@pytest.mark.parametrize(
    ("parts", "texts"),
    [
        ([], []),
        ([None], []),
        (["a", None, "b"], ["ab"]),
        ([A("a"), None, A("b")], ["ab"]),
        # metadata that langchain-core does not merge
        ([A("a", response_metadata={"x": 1.0}), A("b", response_metadata={"x": 2.5}), A("c")], ["abc"]),
        ([A("a", response_metadata={"x": True}), A("b", response_metadata={"x": False})], ["ab"]),
        ([A("a", additional_kwargs={"x": "s"}), A("b", additional_kwargs={"x": 3})], ["ab"]),
        ([A("a", response_metadata={"x": object()}), A("b", response_metadata={"x": object()})], ["ab"]),
        # whole messages before and after chunks; one that is what the chunks were of
        ([A("a", id="1"), A("b", id="1"), AIMessage("ab", id="1")], ["ab"]),
        ([A("a"), A("b"), AIMessage("ab")], ["ab"]),
        ([A("a", id="1"), AIMessage("c", id="2")], ["a", "c"]),
        ([AIMessage("c", id="2"), A("a", id="1"), A("b", id="1")], ["c", "ab"]),
        ([AIMessage("c", id="2"), AIMessage("c", id="2")], ["c"]),
        ([AIMessage("ok"), AIMessage("ok")], ["ok", "ok"]),
        ([A("a"), ToolMessage("t", tool_call_id="c"), A("b")], ["a", "t", "b"]),
        ([[AIMessage("a")], [AIMessage("b")]], ["a", "b"]),
        (["a", A("b"), "c"], ["a", "b", "c"]),
        ([ChatMessageChunk("a", role="x"), ChatMessageChunk("b", role="y")], ["a", "b"]),
        # dicts: pieces, whatever kind of dict they come in, and states that grow
        ([{"answer": "a"}, {"answer": "b"}], ["ab"]),
        ([{"answer": A("a")}, {"answer": A("b")}, {"sources": [1]}], ["ab"]),
        ([{"answer": "a"}, {"answer": None}, {"answer": "b"}], ["ab"]),
        ([AddableDict(answer="a"), {"answer": "b"}], ["ab"]),
        ([AddableDict(answer="a"), AddableDict(answer="ab")], ["aab"]),
        ([{"answer": "a"}, {"answer": "ab"}, {"answer": "abc"}], ["abc"]),
        ([{"messages": [HumanMessage("q")]}, {"messages": [HumanMessage("q"), AIMessage("a")]}], ["q", "a"]),
        ([{7: "a"}, {7: "b"}], ["ab"]),
    ],
)
def test_what_was_shown_is_what_is_put_together(parts: list[Any], texts: list[Any]) -> None:
    assert _texts(parts) == texts


def test_where_metadata_do_not_merge_the_last_counts_and_calls_are_put_together() -> None:
    chunks = [
        A("", id="1", response_metadata={"x": x}, tool_call_chunks=[call])
        for x, call in zip((0.1, 0.2), CALL, strict=True)
    ]
    (message,) = output_messages(output_from_chunks(chunks))
    assert isinstance(message, AIMessage)
    assert message.response_metadata == {"x": 0.2}
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("w", {"city": 1})]


def test_chunks_that_cannot_be_added_at_all_keep_what_they_say() -> None:
    class Stubborn(AIMessageChunk):
        def __add__(self, other: Any) -> Any:
            raise RuntimeError

    assert _texts([Stubborn("a"), Stubborn("b")]) == ["ab"]


def test_parts_of_another_kind_beside_text_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert _texts(["a", 7]) == ["a"]
    assert "not stored" in caplog.text


@pytest.mark.parametrize("part", [7, object(), b"a", ("x", 1)])
def test_of_parts_that_are_nothing_to_store_the_last_is_the_output(part: Any) -> None:
    assert output_from_chunks([object(), part]) is part
    assert not isinstance(part, BaseMessage)
