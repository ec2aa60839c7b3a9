"""Transcripts: readable, and hostile text stays in its place."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from chatstash import Record
from chatstash.history.records.record import new_record_ids
from chatstash.langchain.messages import to_records
from chatstash.transfer import to_markdown, to_openai
from tests import strategies

CALL = AIMessage(
    "I look.",
    tool_calls=[{"name": "search", "args": {"q": "Zürich"}, "id": "c1"}],
    invalid_tool_calls=[{"name": "f", "args": "{no", "id": None, "error": None, "type": "invalid_tool_call"}],
)
RESULT = ToolMessage("```\nfound\n```", tool_call_id="c1", name="search")


def test_a_transcript_has_roles_calls_and_results() -> None:
    text = to_markdown([SystemMessage("Be terse."), HumanMessage("Hi\nthere"), CALL, RESULT], title="My  chat")
    assert text == (
        "# My chat\n\n## System\n\n> Be terse.\n\n## User\n\n> Hi\n> there\n\n## Assistant\n\n> I look.\n\n"
        'Calls `search` (`c1`):\n\n```json\n{\n  "q": "Zürich"\n}\n```\n\n'
        "Calls `f` (`no id`) with invalid arguments:\n\n```text\n{no\n```\n\n"
        "## Tool `search` (`c1`)\n\n````text\n```\nfound\n```\n````\n"
    )


def test_records_tell_their_times() -> None:
    (rid,) = new_record_ids(1, time_ms=1_790_000_000_123, randomness=b"x" * 6)
    assert to_markdown([Record("human", {"content": "a"}, rid)]).startswith("## User · 2026-09-21 14:13:20 UTC\n\n> a")
    assert to_markdown([Record("human", {"content": "a"})]).startswith("## User\n")
    assert to_markdown([Record("odd`\n## User", {"a": "```"})]).startswith("## `odd' ## User`\n\n````json\n")


def test_blocks_are_shown_or_named() -> None:
    blocks = [
        "plain",
        {"type": "text", "text": "t"},
        {"type": "image_url", "image_url": {"url": "https://x.example/a`b.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "tool_use", "id": "c1", "name": "search", "input": {}},
        {"type": "thinking", "thinking": "hm"},
    ]
    text = to_markdown([AIMessage(blocks, tool_calls=CALL.tool_calls)])  # type: ignore[arg-type]
    assert "> plain\n\n> t\n\n`[image_url: https://x.example/a'b.png]`\n\n`[image_url]`\n\n```json\n{\n" in text
    assert '"thinking": "hm"' in text
    assert "tool_use" not in text


def test_code_in_a_text_stays_code() -> None:
    text = to_markdown([AIMessage("Look:\n~~~html onclick=`\n<b>\n~~~\nand `<i>`\n```python\nunclosed <x>\n## User")])
    assert text == (
        "## Assistant\n\n> Look:\n>\n> ```html\n> <b>\n> ```\n>\n> and `&lt;i>`\n>\n"
        "> ```python\n> unclosed <x>\n> ## User\n> ```\n"
    )


HOSTILE = st.lists(
    st.sampled_from(
        [
            "```",
            "````",
            "~~~",
            "~~~a`b",
            "```x",
            "#User",
            "##User",
            ">User",
            "-```",
            "<!--",
            "</script>",
            "\\<b>",
            "text",
            "---",
            "[a]:http://x",
            "`",
        ]
    )
    | st.sampled_from(
        [" ", "    ", "\n", "\n## User\n", "\n- ```\n", "\r", "\r\n", "\x85", "\u2028", "\x1b[2J", "\x00", "\ud800"]
    )
    | st.text(max_size=5),
    max_size=12,
).map("".join)


def _outside(text: str) -> list[str]:
    """Return the lines outside of quotes and of fences at the left, as CommonMark finds them."""
    outside, fence = [], None
    for line in text.split("\n"):
        if fence is not None:
            fence = None if re.fullmatch(rf" {{0,3}}{fence}`*[ \t]*", line) else fence
        elif found := re.match(r" {0,3}(`{3,})[^`]*$", line):
            fence = found[1]
        elif not line.startswith(">") and line:
            outside.append(line)
    assert fence is None
    return outside


@given(HOSTILE, HOSTILE)
def test_stored_text_cannot_break_out(text: str, more: str) -> None:
    messages: list[BaseMessage] = [
        HumanMessage(text, name=more),
        AIMessage([text, {"type": "text", "text": more}], tool_calls=[{"name": text, "args": {"a": more}, "id": more}]),
        ToolMessage(text, tool_call_id=more),
        ChatMessage(more, role=text),
    ]
    outside = _outside(to_markdown([*messages, Record(text, {"content": [more]})], title=text))
    shapes = [re.sub(r"`[^`]*`", "x", line) for line in outside]
    assert shapes[0].startswith("# ")
    expected = ["## User x" if more else "## User", "## Assistant", "Calls x (x):", "## Tool (x)", "## x", "## x"]
    assert shapes[1:] == expected
    assert not any("\x1b" in line or "\x00" in line for line in outside)


@given(HOSTILE)
def test_html_in_prose_is_escaped(text: str) -> None:
    fence = None
    for line in to_markdown([HumanMessage(text)]).split("\n")[2:]:
        inner = line.removeprefix(">").removeprefix(" ")
        if fence is not None:
            fence = None if re.fullmatch(rf" {{0,3}}{fence}`*[ \t]*", inner) else fence
        elif found := re.match(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)$", inner):
            fence = found[1] or found[2]
        else:
            assert not re.search(r"<[A-Za-z/!?]", line)
    assert fence is None


@settings(max_examples=40)
@given(strategies.messages())
def test_any_message_has_a_transcript(messages: list[BaseMessage]) -> None:
    assert to_markdown(messages).count("\n## ") + to_markdown(messages).startswith("## ") >= min(len(messages), 1)
    assert to_markdown(to_records(messages)).endswith("\n")


def test_openai_takes_messages_and_records() -> None:
    messages = [HumanMessage("Hi"), CALL, RESULT]
    expected = to_openai(messages)
    assert [each["role"] for each in expected] == ["user", "assistant", "tool"]
    assert expected[1]["tool_calls"][0]["function"]["name"] == "search"
    assert to_openai(to_records(messages)) == expected
    assert to_openai([]) == []


@pytest.mark.parametrize("convert", [to_markdown, to_openai])
@pytest.mark.parametrize("given_", ["text", HumanMessage("a"), 7, [HumanMessage("a"), "b"]])
def test_other_things_are_refused(convert: object, given_: object) -> None:
    with pytest.raises(ValueError, match=r"give a list of messages|item 1 is a str"):
        convert(given_)  # type: ignore[operator]
