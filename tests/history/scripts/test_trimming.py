"""Bounded storage knows calls and results as windows do: the script and `tool_calls` are run on the same records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, FunctionMessage, HumanMessage, ToolMessage

from chatstash.history.records.encoding import encode
from chatstash.history.records.message_types import KNOWN_TYPES
from chatstash.history.records.record import Record
from chatstash.history.scripts.loading import SCRIPTS
from chatstash.history.tool_calls.formats import CallKey, calls_of, is_only_results, results_of
from chatstash.local import LocalUpstash
from tests.conftest import command
from tests.history.tool_calls import test_formats as forms

SCRIPT = SCRIPTS.composed("""#!lua flags=allow-key-locking
--- @include "calls"
local names, calls, answers = {}, calls_and_answers(ARGV[1])
for name in pairs(calls) do names[#names + 1] = name end
return {names, answers}
""")
TEXT = {"type": "text", "text": "t"}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "r"}
OTHERS: list[Any] = [
    AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": None}]),
    AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
    FunctionMessage("r", name="f"),
    AIMessage([RESULT]),
    HumanMessage([TEXT, RESULT]),
    HumanMessage([RESULT, {**RESULT, "tool_use_id": "b"}]),
    ToolMessage([{**RESULT, "tool_use_id": "b"}], tool_call_id="a"),
    ToolMessage("r", tool_call_id=""),
]
RECORDS = [forms.record(made) for made in [*forms.ANSWERED, *forms.ALLOWED, *forms.NEITHER, *forms.RESULTS, *OTHERS]]
HOSTILE = [Record(kind, data) for data in forms.HOSTILE for kind in sorted(KNOWN_TYPES)]


def names(keys: list[CallKey | None]) -> list[str]:
    return sorted(f"function {key.id}" if key.is_function else key.id for key in keys if key is not None)


def by_python(record: Record) -> tuple[list[str], list[str]]:
    results = [result.key for result in results_of(record)] if is_only_results(record) else []
    return names([call.key for call in calls_of(record)]), [] if None in results else names(results)


def by_lua(upstash: LocalUpstash, record: Record) -> tuple[list[str], list[str]]:
    calls, answers = command(upstash, "EVAL", SCRIPT, 0, encode(record))
    return sorted(calls), sorted(answers)


def test_the_script_knows_every_form(upstash: LocalUpstash) -> None:
    for record in [*RECORDS, *HOSTILE]:
        assert by_lua(upstash, record) == by_python(record), record


@pytest.mark.parametrize("raw", ["tool", "[]", "null", '{"tool": 1}', json.dumps({"type": "ai", "data": "tool"})])
def test_what_is_no_record_is_neither(upstash: LocalUpstash, raw: str) -> None:
    assert command(upstash, "EVAL", SCRIPT, 0, raw) == [[], []]
