"""Which result belongs to which tool call. Pure.

A model asks for tools in an AI record; their results are records of their own. Every provider wants each result
directly after the call, once, and none without a call; in parallel calls the order of the results is free. Ids are
unique only within an AI record: some models number their calls anew in each turn, so a result belongs to the nearest
call before it that has its id and no result yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chatstash.history.message_types import AI_TYPES, TOOL_TYPES
from chatstash.history.records import Record

STAND_IN = "stand_in"
"""The top-level field that marks a result which chatstash wrote because none was recorded."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of an AI record.

    Attributes:
        id: What its result names; unique within the record.
        name: The tool's name, or None where it is not known.
        wants_result: Whether a model's provider would miss the result. Where False, a result is only allowed.
    """

    id: str
    name: str | None
    wants_result: bool


def calls_of(record: Record) -> list[Call]:
    """Return the tool calls of a record, as LangChain would build them on reading; each id once."""
    if record.type not in AI_TYPES:
        return []
    calls: dict[str, Call] = {}
    for call in [*_calls(record.data), *_mentions(record.data)]:
        calls.setdefault(call.id, call)
    return list(calls.values())


def answered_id(record: Record) -> str | None:
    """Return the id of the call whose result a record is, or None where it names none."""
    return _id(record.data.get("tool_call_id"))


def _calls(data: Mapping[str, Any]) -> Iterable[Call]:
    """Return the calls; old libraries kept them, in OpenAI's form, in `additional_kwargs` alone.

    https://docs.langchain.com/oss/python/langchain/messages#tool-calls; calls whose arguments could not be parsed are
    sent to providers as well.
    """
    present = [*_dicts(data.get("tool_calls")), *_dicts(data.get("invalid_tool_calls"))]
    if present:
        return map(_call, present)
    if chunks := _dicts(data.get("tool_call_chunks")):
        return map(_call, chunks)
    return [_call({**call["function"], "id": call.get("id")}) for call in _old_calls(data) if _is_function(call)]


def _is_function(call: Mapping[str, Any]) -> bool:
    function = call.get("function")
    return isinstance(function, dict) and "name" in function and isinstance(function.get("arguments"), str)


def _call(fields: Mapping[str, Any]) -> Call:
    # A call without an id cannot be named by a result; libraries then write an empty id there.
    call_id, name = _id(fields.get("id")) or "", fields.get("name")
    return Call(call_id, name if isinstance(name, str) and name else None, wants_result=bool(call_id))


def _mentions(data: Mapping[str, Any]) -> Iterable[Call]:
    """Yield what looks like a call, though LangChain makes none of it: a result to it is no result without a call."""
    content = data.get("content")
    blocks = [block for block in _dicts(content) if block.get("type") in ("tool_use", "tool_call")]
    for call in [*_old_calls(data), *blocks]:
        if (call_id := _id(call.get("id"))) is not None:
            yield Call(call_id, None, wants_result=False)


def _old_calls(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    extra = data.get("additional_kwargs")
    return _dicts(extra.get("tool_calls")) if isinstance(extra, dict) else []


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _id(value: Any) -> str | None:
    # LangChain reads numbers as text.
    known = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value) if known else None


Entry: TypeAlias = Record | None
"""A record, or None for one that cannot be looked into: it may be a call as well as a result."""


@dataclass(slots=True)
class Slot:
    """The place of one call's result.

    Attributes:
        asked: The index of the AI record.
        call: The call.
        answer: The index of its result, or None.
        after: The index of the record after which a result belongs: the call, or the last result directly after it.
    """

    asked: int
    call: Call
    answer: int | None = None
    after: int = 0


@dataclass(slots=True)
class Pairing:
    """What was found.

    Attributes:
        without_call: Indices of results that have no call.
        replaced: Indices of stand-ins whose result arrived after all.
        missing: The calls that want a result and have none, in their order.
    """

    without_call: list[int] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    missing: list[Slot] = field(default_factory=list)


def pair(entries: Sequence[Entry]) -> Pairing:
    """Pair calls with results.

    Args:
        entries: The conversation, oldest first.
    """
    pairs = _Pairs()
    for index, record in enumerate(entries):
        if record is None:
            pairs.take_unknown()
        elif record.type in TOOL_TYPES:
            pairs.take_result(index, record)
        else:
            pairs.take_other(index, record)
    return pairs.result()


class _Pairs:
    def __init__(self) -> None:
        self._found = Pairing()
        self._slots: dict[str, list[Slot]] = {}
        self._block: list[Slot] = []
        """The calls of the AI record directly after which results are being read."""
        self._stand_ins: set[int] = set()
        self._unjudged: set[int] = set()
        self._after_unknown = False

    def take_unknown(self) -> None:
        self._unjudged.update(slot.asked for slot in self._block)
        self._block, self._after_unknown = [], True

    def take_other(self, index: int, record: Record) -> None:
        self._block = [Slot(index, call, after=index) for call in calls_of(record)]
        self._after_unknown = False
        for slot in self._block:
            self._slots.setdefault(slot.call.id, []).append(slot)

    def take_result(self, index: int, record: Record) -> None:
        if STAND_IN in record.other:
            self._stand_ins.add(index)
        call_id = answered_id(record)
        slots = self._slots.get(call_id, []) if call_id is not None else []
        slot = next((slot for slot in reversed(slots) if slot.answer is None), None) or self._stand_in(slots, index)
        if slot is not None:
            self._fill(slot, index)
        elif not self._after_unknown:
            self._found.without_call.append(index)

    def _stand_in(self, slots: Sequence[Slot], index: int) -> Slot | None:
        """Return the place that a stand-in holds and this result, directly after it, should have."""
        if index in self._stand_ins:
            return None
        return next((slot for slot in slots if slot in self._block and slot.answer in self._stand_ins), None)

    def _fill(self, slot: Slot, index: int) -> None:
        if slot.answer is not None:
            self._found.replaced.append(slot.answer)
        slot.answer = index
        if slot in self._block:
            for neighbour in self._block:
                neighbour.after = index

    def result(self) -> Pairing:
        slots = sorted((slot for slots in self._slots.values() for slot in slots), key=lambda slot: slot.asked)
        self._found.missing = [
            slot
            for slot in slots
            if slot.answer is None and slot.call.wants_result and slot.asked not in self._unjudged
        ]
        return self._found
