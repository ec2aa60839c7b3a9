"""The new messages of transcripts that come back altered, found by id, then by role and text."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from chatstash.langchain.runnable.alignment import align_input, start_of_reply


def _m(*texts: str) -> list[BaseMessage]:
    """Make messages: `h:` human, `a:` AI, `s:` system, `c:` a tool call, `t:` its result; `#` before an id."""
    return [_one(text) for text in texts]


def _one(text: str) -> BaseMessage:
    kind, _, rest = text.partition(":")
    said, _, name = rest.partition("#")
    more: dict[str, Any] = {"id": name} if name else {}
    if kind == "c":
        return AIMessage("", tool_calls=[{"name": "w", "args": {}, "id": said}], **more)
    if kind == "t":
        return ToolMessage("sun", tool_call_id=said, **more)
    return {"h": HumanMessage, "a": AIMessage, "s": SystemMessage}[kind](said, **more)


TOOL_TURN = ["h:1", "c:x", "t:x", "a:one"]
TWO_TURNS = ["h:1", "a:one", "h:2", "a:two"]


@pytest.mark.parametrize(
    ("history", "given", "new"),
    [
        ([], ["h:1"], ["h:1"]),
        (["h:1"], ["h:1"], ["h:1"]),
        (["h:1"], ["h:1", "h:2"], ["h:2"]),
        # all of it, its end, and more than the window
        (TWO_TURNS, [*TWO_TURNS, "h:3"], ["h:3"]),
        (TWO_TURNS, ["a:two", "h:3"], ["h:3"]),
        (TWO_TURNS, ["h:2", "a:two", "h:3"], ["h:3"]),
        (["a:two"], [*TWO_TURNS, "h:3"], ["h:3"]),
        (["h:2", "a:two"], [*TWO_TURNS, "h:3"], ["h:3"]),
        # without the messages that a front end hides
        (TOOL_TURN, ["h:1", "a:one", "h:2"], ["h:2"]),
        (["s:be kind", *TWO_TURNS], [*TWO_TURNS, "h:3"], ["h:3"]),
        # with other ids or other white space
        (["h:1#a", "a:one#b"], ["h:1#c", "a:one#d", "h:2#e"], ["h:2#e"]),
        (TWO_TURNS, ["h:1 ", "a: one", "h:2", "a:two\n", "h:3"], ["h:3"]),
        # one message that differs, early or late
        (TWO_TURNS, ["h:redacted", "a:one", "h:2", "a:two", "h:3"], ["h:3"]),
        (TWO_TURNS, ["h:1", "a:one", "h:2", "a:**two**", "h:3"], ["h:3"]),
        # equal messages
        (["h:ok", "a:ok"], ["h:ok", "a:ok", "h:ok"], ["h:ok"]),
        (["h:ok", "a:ok"] * 2, [*["h:ok", "a:ok"] * 2, "h:ok"], ["h:ok"]),
        (["h:ok", "a:ok"], [*["h:ok", "a:ok"] * 3, "h:ok"], ["h:ok"]),
        (["h:1", "a:one"], ["h:ok", "h:ok"], ["h:ok", "h:ok"]),
        # several new messages, one of which repeats an old one
        (["h:hi", "a:hello", "h:2", "a:two"], ["h:hi", "h:3"], ["h:hi", "h:3"]),
        # another branch: the last question was edited
        (TWO_TURNS, ["h:1", "a:one", "h:other"], ["h:other"]),
        # a prompt that is sent along, and one that changes
        (["s:be kind", "h:1", "a:one"], ["s:be kind", "h:2"], ["h:2"]),
        (["h:1", "a:one"], ["s:be kind", "h:1", "a:one", "h:2"], ["h:2"]),
        (["s:be kind", "h:1", "a:one"], ["s:be terse", "h:2"], ["s:be terse", "h:2"]),
        # a tool that the front end runs
        (["h:1", "c:x"], ["h:1", "c:x", "t:x"], ["t:x"]),
        (["h:1#a"], ["h:1#a"], []),
        # a prompt alone is the question
        (["s:go on", "a:one"], ["s:go on"], ["s:go on"]),
        (["h:1#a", "a:one#b"], ["h:1#a", "a:one#b"], []),
        # ids count more than texts
        (["h:1#a", "a:ok#b"], ["h:1#a", "a:ok#b", "a:ok", "h:2"], ["a:ok", "h:2"]),
        # too little evidence of a repetition: no answer, one answer out of its place, or most of it differs
        (["h:hi"], ["h:0", "h:hi", "h:3"], ["h:0", "h:hi", "h:3"]),
        (["a:hi", "h:1"], ["a:hi", "h:2"], ["a:hi", "h:2"]),
        (TWO_TURNS, ["h:x", "a:y", "h:z", "a:two", "h:3"], ["h:x", "a:y", "h:z", "a:two", "h:3"]),
    ],
)
def test_the_new_messages_of_an_input(history: list[str], given: list[str], new: list[str]) -> None:
    assert align_input(_m(*history), _m(*given)).new == _m(*new)


def test_a_front_end_shows_the_text_of_an_answer_without_its_calls() -> None:
    call: Any = {"name": "w", "args": {}, "id": "x"}
    history = [HumanMessage("1"), AIMessage("I look", tool_calls=[call])]
    question = HumanMessage("2")
    assert align_input(history, [history[0], AIMessage("I look"), question]).new == [question]


def test_instructions_before_a_transcript_are_only_for_the_model() -> None:
    split = align_input(_m("h:1", "a:one"), _m("s:be kind", "h:1", "a:one", "h:2"))
    assert split.instructions == _m("s:be kind")


KNOWN = ["h:1", "a:one", "h:2"]


@pytest.mark.parametrize(
    ("known", "output", "new"),
    [
        # the whole state, its end, the question and the answer, the answer alone
        (KNOWN, [*KNOWN, "a:two"], 1),
        (KNOWN, ["a:one", "h:2", "a:two"], 1),
        (KNOWN, ["h:2", "a:two"], 1),
        (KNOWN, ["a:two"], 1),
        (KNOWN, [*KNOWN, "c:x", "t:x", "a:two"], 3),
        # copies with ids, and messages added before
        (KNOWN, ["h:1#a", "a:one#b", "h:2#c", "a:two#d"], 1),
        (["h:1#a", "a:one#b", "h:2#c"], ["h:1#x", "a:one#y", "h:2#z", "a:two#d"], 1),
        (KNOWN, ["s:be kind", *KNOWN, "a:two"], 1),
        # redacted: an early message, the question, all of them, with ids and without
        (KNOWN, ["h:***", "a:one", "h:2", "a:two"], 1),
        (KNOWN, ["h:1", "a:one", "h:***", "a:two"], 1),
        (KNOWN, ["h:***", "a:***", "h:***", "a:two"], 1),
        (["h:1"], ["h:***", "a:one"], 1),
        (["h:1"], ["s:be kind", "h:***", "a:one"], 1),
        (["h:1#a", "a:one#b", "h:2#c"], ["h:*#a", "a:*#b", "h:*#c", "a:two#d"], 1),
        # a summary in place of the beginning, or of all
        (KNOWN, ["h:summary", "h:2", "a:two"], 1),
        (KNOWN, ["s:summary", "a:two"], 1),
        # context for the model after the question; messages of the run itself
        (KNOWN, [*KNOWN, "h:context", "a:two"], 1),
        (KNOWN, [*KNOWN, "a:no", "h:try again", "a:two"], 3),
        (["h:1"], ["h:1", "a:one", "h:1", "a:one"], 3),
        (["h:1"], ["a:one", "h:simulated", "a:two"], 3),
        # equal messages
        (["h:ok", "a:ok", "h:ok"], ["h:ok", "a:ok", "h:ok", "a:ok"], 1),
        (["h:ok", "a:ok", "h:ok"], ["h:ok", "a:ok"], 1),
        (["h:ok", "a:ok", "h:ok"], ["a:ok"], 1),
        (["h:ok", "a:ok", "h:go"], ["a:ok"], 1),
        ([*TOOL_TURN, "h:1"], ["c:x", "t:x", "a:one"], 3),
        # no reply
        (["h:1#a"], ["h:context", "h:1#a"], 0),
        (["a:one", "h:2"], ["a:one", "h:context", "h:2"], 0),
        (["h:1"], ["h:***"], 0),
        # an answer after a pending call
        (["h:1", "c:x"], ["h:1", "a:one"], 1),
        # the question was removed
        (KNOWN, ["h:1", "a:one", "a:two"], 1),
    ],
)
def test_the_new_messages_of_an_output(known: list[str], output: list[str], new: int) -> None:
    assert len(output) - start_of_reply(_m(*known), _m(*output)) == new


def test_generated_messages_are_new_even_if_their_text_is_not() -> None:
    known = _m(*TOOL_TURN, "h:1#q")
    output = _m("h:summary", "c:x#f", "t:x", "a:one")
    assert start_of_reply(known, output, {"f"}) == 1


def test_long_transcripts() -> None:
    transcript = [message for at in range(500) for message in _m(f"h:{at}", f"a:{at}")]
    other = [message for at in range(500) for message in _m(f"h:x{at}", f"a:y{at}")]
    assert align_input(transcript, [*transcript, HumanMessage("new")]).new == [HumanMessage("new")]
    assert len(align_input(transcript, other).new) == 1000
