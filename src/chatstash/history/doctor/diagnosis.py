"""What is wrong with a stored conversation, and what would put it right. Pure.

The rule: what stays can be read and can be sent to a model's provider; what cannot stay is kept elsewhere; what is not
certain, or of a newer form than this version knows, is left alone.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from chatstash.errors import CorruptRecord, UnsupportedRecord
from chatstash.history.records.decoding import decode
from chatstash.history.records.message_types import AI_TYPES, FUNCTION_TYPES, HUMAN_TYPES, KNOWN_TYPES, TOOL_TYPES
from chatstash.history.records.record import Record, RecordId
from chatstash.history.tool_calls.formats import results_of
from chatstash.history.tool_calls.pairing import CallGroup, Pairing, Slot, pair, pending_index

DEFAULT_OLDER_THAN = 3600
"""Seconds after which a turn that waits for the result of a tool is taken for broken off."""

Unreadable: TypeAlias = Callable[[Record], str | None]
"""Says why no message can be made of a record, or None where one can."""


_LONGEST_FORM = 20


class Damage(enum.StrEnum):
    """A kind of damage."""

    UNDECODABLE = "undecodable"
    UNKNOWN_TYPE = "unknown-type"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    RESULT_WITHOUT_CALL = "result-without-call"
    CALL_WITHOUT_RESULT = "call-without-result"
    NEWER_FORM = "newer-form"
    NO_EXPIRY = "no-expiry"
    OTHER_TYPE = "other-type"


class Repair(enum.StrEnum):
    """What puts a damage right."""

    QUARANTINE = "move to quarantine"
    TAKE_OUT = "move to quarantine, and keep the rest of the message"
    INSERT_RESULT = "insert a result that says there is none"
    SET_EXPIRY = "set an expiry"
    NONE = "leave as it is"


_NOTHING_TO_DO_WITH_TOOLS = KNOWN_TYPES - AI_TYPES - TOOL_TYPES - HUMAN_TYPES - FUNCTION_TYPES


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage.

    Attributes:
        damage: Its kind.
        repair: What would be done about it.
        reason: What is wrong, in words; holds nothing of what messages say.
        position: The record's place in the conversation, 0 for the oldest; None where it is about the key.
        record_id: The record's id, where it has one.
        evidence: Positions of older records that the finding rests on.
        missing: The call that has no result, and where the result belongs; positions, not indices.
        blocks: Which of the record's content blocks are to be removed.
        expiry: Seconds, for a key without an expiry.
    """

    damage: Damage
    repair: Repair
    reason: str
    position: int | None = None
    record_id: RecordId | None = None
    evidence: tuple[int, ...] = ()
    missing: Slot | None = None
    blocks: tuple[int, ...] = ()
    expiry: int | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A record that stays, as far as is known yet. Its `record` is None where nothing is known of what it holds."""

    position: int
    record: Record | None


def diagnose(
    stored: Sequence[bytes], unreadable: Unreadable, *, now_ms: int, older_than: float = DEFAULT_OLDER_THAN
) -> list[Finding]:
    """Return what is wrong with a conversation, oldest record first.

    Args:
        stored: The stored records, oldest first.
        unreadable: Says why no message can be made of a record.
        now_ms: Now, in milliseconds since the epoch.
        older_than: Seconds after which a last turn that waits for a tool's result is taken for broken off.
    """
    findings: list[Finding] = []
    kept = _without_unreadable(stored, unreadable, findings)
    kept = _without_duplicates(kept, findings)
    _look_at_calls(kept, findings, before_ms=now_ms - older_than * 1000)
    return sorted(findings, key=lambda finding: -1 if finding.position is None else finding.position)


def _without_unreadable(stored: Sequence[bytes], unreadable: Unreadable, findings: list[Finding]) -> list[_Seen]:
    kept: list[_Seen] = []
    for position, raw in enumerate(stored):
        try:
            record = decode(raw, position=position)
        except CorruptRecord as error:
            findings.append(Finding(Damage.UNDECODABLE, Repair.QUARANTINE, error.reason, position))
        except UnsupportedRecord as error:
            findings.append(_of_newer_form(error, position))
            kept.append(_Seen(position, _peeked(raw)))
        else:
            wrong = _what_is_wrong(record, position, unreadable)
            kept += [] if wrong else [_Seen(position, record)]
            findings += [wrong] if wrong else []
    return kept


def _what_is_wrong(record: Record, position: int, unreadable: Unreadable) -> Finding | None:
    if record.type not in KNOWN_TYPES:
        reason = "no library knows messages of its type"
        return Finding(Damage.UNKNOWN_TYPE, Repair.QUARANTINE, reason, position, record.id)
    if (reason_found := unreadable(record)) is not None:
        return Finding(Damage.UNREADABLE, Repair.QUARANTINE, reason_found, position, record.id)
    return None


def _of_newer_form(error: UnsupportedRecord, position: int) -> Finding:
    form = f"form {error.version}" if type(error.version) is int else "a form"
    reason = f"it is of {form[:_LONGEST_FORM]}, which only a newer chatstash knows: upgrade this one"
    return Finding(Damage.NEWER_FORM, Repair.NONE, reason, position)


def _peeked(raw: bytes) -> Record | None:
    """Return what can be known of a record of a newer form: at most that its type has nothing to do with tools."""
    try:
        kind = json.loads(raw)["type"]
    except (ValueError, RecursionError):
        return None
    return Record(kind, {}) if kind in _NOTHING_TO_DO_WITH_TOOLS else None


def _without_duplicates(seen: Sequence[_Seen], findings: list[Finding]) -> list[_Seen]:
    first: dict[RecordId, int] = {}
    kept: list[_Seen] = []
    for one in seen:
        rid = None if one.record is None else one.record.id
        if rid is None or first.setdefault(rid, one.position) == one.position:
            kept.append(one)
        else:
            reason = f"a duplicate of the record at position {first[rid]}"
            evidence = (first[rid],)
            findings.append(Finding(Damage.DUPLICATE, Repair.QUARANTINE, reason, one.position, rid, evidence))
    return kept


def _look_at_calls(seen: Sequence[_Seen], findings: list[Finding], *, before_ms: float) -> None:
    found = pair([one.record for one in seen])
    late = "it stood in for a result that has arrived since"
    findings.extend(_replaced(seen[index], late) for index in found.replaced)
    findings.extend(_without_call(seen, found))
    open_turn = _open_turn(seen, found, before_ms)
    findings.extend(_unanswered(seen, slot) for slot in found.missing if slot.call_index != open_turn)


def _replaced(one: _Seen, reason: str) -> Finding:
    rid = None if one.record is None else one.record.id
    return Finding(Damage.RESULT_WITHOUT_CALL, Repair.QUARANTINE, reason, one.position, rid)


def _without_call(seen: Sequence[_Seen], found: Pairing) -> Iterator[Finding]:
    """Yield the records that are results of no call, and those that hold one beside what stays."""
    reason = "the result of a tool call that is not before it"
    orphans: dict[int, list[int | None]] = {}
    for place in found.orphans:
        orphans.setdefault(place.record, []).append(place.block)
    for index, blocks in orphans.items():
        one = seen[index]
        if one.record is None:
            continue
        gone = tuple(block for block in blocks if block is not None)
        if None not in blocks and len(gone) < len(one.record.data["content"]):
            yield Finding(Damage.RESULT_WITHOUT_CALL, Repair.TAKE_OUT, reason, one.position, one.record.id, blocks=gone)
        elif len(blocks) == len(results_of(one.record)):
            yield _replaced(one, reason)


def _unanswered(seen: Sequence[_Seen], slot: Slot) -> Finding:
    asking = seen[slot.call_index]
    rid = None if asking.record is None else asking.record.id
    placed = Slot(CallGroup(asking.position, seen[slot.insert_after].position), slot.call)
    reason = "the result of one of its tool calls is missing"
    return Finding(
        Damage.CALL_WITHOUT_RESULT, Repair.INSERT_RESULT, reason, asking.position, rid, (asking.position,), placed
    )


def _open_turn(seen: Sequence[_Seen], found: Pairing, before_ms: float) -> int | None:
    """Return the index of the last AI record where its tools may still be at work, else None."""
    index = pending_index([one.record for one in seen])
    if index is None:
        return None
    gone = {*(place.record for place in found.orphans), *found.replaced}
    turn = [one for place, one in enumerate(seen[index:], index) if place not in gone]
    times = [None if one.record is None else one.record.time_ms for one in turn]
    broken_off = all(time is not None and time < before_ms for time in times)
    return None if broken_off else index


def other_type() -> Finding:
    """Return the finding for a key that holds no list."""
    reason = "its value is not a list, so it cannot be read as a conversation"
    return Finding(Damage.OTHER_TYPE, Repair.NONE, reason)


def expiry_findings(expiries: Mapping[str, int | None], ttl: int) -> dict[str, Finding]:
    """Return which conversations never expire, by key.

    Args:
        expiries: For each key, the seconds left to it, or None where it never expires.
        ttl: Seconds that every key without an expiry is to get.
    """
    finding = Finding(Damage.NO_EXPIRY, Repair.SET_EXPIRY, "it never expires", expiry=ttl)
    return {key: finding for key, left in expiries.items() if left is None}
