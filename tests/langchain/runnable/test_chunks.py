"""The output of a stream, combined from its chunks: nothing received is lost, and no chunk is refused."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
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


def _block(score: float) -> dict[str, Any]:
    return {"type": "text", "text": "a", "index": 0, "score": score}


def _texts(chunks: list[Any]) -> list[Any]:
    output = output_from_chunks(chunks)
    held = next(iter(output.values())) if isinstance(output, dict) else output
    return [message.content for message in output_messages(held)]


@pytest.mark.parametrize(
    ("chunks", "texts"),
    [
        ([], []),
        ([None], []),
        (["a", None, "b"], ["ab"]),
        ([A("a"), None, A("b")], ["ab"]),
        # metadata and content blocks that langchain-core does not merge
        ([A("a", response_metadata={"x": 1.0}), A("b", response_metadata={"x": 2.5}), A("c")], ["abc"]),
        ([A("a", response_metadata={"x": True}), A("b", response_metadata={"x": False})], ["ab"]),
        ([A("a", additional_kwargs={"x": "s"}), A("b", additional_kwargs={"x": 3})], ["ab"]),
        ([A("a", response_metadata={"x": object()}), A("b", response_metadata={"x": object()})], ["ab"]),
        ([A([_block(0.5)]), A([_block(0.7)])], [[_block(0.5), _block(0.7)]]),
        # whole messages before and after chunks, and one that repeats the chunks
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
def test_chunks_are_combined(chunks: list[Any], texts: list[Any]) -> None:
    assert _texts(chunks) == texts


def test_of_metadata_that_does_not_merge_the_last_counts() -> None:
    chunks = [
        A("", id="1", response_metadata={"x": x}, tool_call_chunks=[call])
        for x, call in zip((0.1, 0.2), CALL, strict=True)
    ]
    (message,) = output_messages(output_from_chunks(chunks))
    assert isinstance(message, AIMessage)
    assert message.response_metadata == {"x": 0.2}
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("w", {"city": 1})]


def test_chunks_that_cannot_be_added_are_concatenated() -> None:
    class Stubborn(AIMessageChunk):
        def __add__(self, other: Any) -> Any:
            raise RuntimeError

    assert _texts([Stubborn("a"), Stubborn("b")]) == ["ab"]


def test_a_warning_for_chunks_that_are_not_stored(caplog: pytest.LogCaptureFixture) -> None:
    assert _texts(["a", 7]) == ["a"]
    assert "not stored" in caplog.text


@pytest.mark.parametrize("chunk", [7, object(), b"a", ("x", 1)])
def test_if_no_chunk_can_be_stored_the_last_is_the_output(chunk: Any) -> None:
    assert output_from_chunks([object(), chunk]) is chunk
