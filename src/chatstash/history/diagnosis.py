"""What is wrong with a stored conversation, and what would put it right. Pure.

The rule: what stays can be read and can be sent to a model's provider; what cannot stay is kept elsewhere; what is not
certain, or of a newer form than this version knows, is left alone.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from chatstash.errors import CorruptRecord, UnsupportedRecord
from chatstash.history.message_types import AI_TYPES, KNOWN_TYPES, TOOL_TYPES
from chatstash.history.records import Record, RecordId, decode
from chatstash.history.tool_calls import Pairing, Slot, pair

DEFAULT_OLDER_THAN = 3600
"""Seconds after which a turn that waits for the result of a tool is taken for broken off."""

_SHOWN_NAME = 40

Unreadable: TypeAlias = Callable[[Record], str | None]
"""Says why no message can be made of a record, or None where one can."""


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


class Repair(enum.StrEnum):
    """What puts a damage right."""

    QUARANTINE = "move to quarantine"
    INSERT_RESULT = "insert a result that says there is none"
    SET_EXPIRY = "set an expiry"
    NONE = "leave as it is"


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage.

    Attributes:
        damage: Its kind.
        repair: What would be done about it.
        reason: What is wrong, in words; holds nothing of what messages say.
        position: The record's place in the conversation, 0 for the oldest; None where it is about the key.
        rid: The record's id, where it has one.
        evidence: Positions of older records that the finding rests on.
        missing: The call that has no result, and where the result belongs; positions, not indices.
        expiry: Seconds, for a key without an expiry.
    """

    damage: Damage
    repair: Repair
    reason: str
    position: int | None = None
    rid: RecordId | None = None
    evidence: tuple[int, ...] = ()
    missing: Slot | None = None
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
        reason = f"no library knows messages of type {record.type[:_SHOWN_NAME]!r}"
        return Finding(Damage.UNKNOWN_TYPE, Repair.QUARANTINE, reason, position, record.rid)
    if (reason_found := unreadable(record)) is not None:
        return Finding(Damage.UNREADABLE, Repair.QUARANTINE, reason_found, position, record.rid)
    return None


def _of_newer_form(error: UnsupportedRecord, position: int) -> Finding:
    version = repr(error.version)[:_SHOWN_NAME]
    reason = f"it is of form {version}, which only a newer chatstash knows: upgrade this one"
    return Finding(Damage.NEWER_FORM, Repair.NONE, reason, position)


def _peeked(raw: bytes) -> Record | None:
    """Return what can be known of a record of a newer form: at most that its type has nothing to do with tools."""
    try:
        kind = json.loads(raw)["type"]
    except (ValueError, RecursionError):
        return None
    return Record(kind, {}) if kind in KNOWN_TYPES - AI_TYPES - TOOL_TYPES else None


def _without_duplicates(seen: Sequence[_Seen], findings: list[Finding]) -> list[_Seen]:
    first: dict[RecordId, int] = {}
    kept: list[_Seen] = []
    for one in seen:
        rid = None if one.record is None else one.record.rid
        if rid is None or first.setdefault(rid, one.position) == one.position:
            kept.append(one)
        else:
            reason = f"a copy of the record at position {first[rid]}"
            evidence = (first[rid],)
            findings.append(Finding(Damage.DUPLICATE, Repair.QUARANTINE, reason, one.position, rid, evidence))
    return kept


def _look_at_calls(seen: Sequence[_Seen], findings: list[Finding], *, before_ms: float) -> None:
    found = pair([one.record for one in seen])
    no_call, late = "the result of a tool call that is not before it", "it stood in for a result that has arrived since"
    findings.extend(_misplaced(seen[index], no_call) for index in found.without_call)
    findings.extend(_misplaced(seen[index], late) for index in found.replaced)
    open_turn = _open_turn(seen, found, before_ms)
    findings.extend(_unanswered(seen, slot) for slot in found.missing if slot.asked != open_turn)


def _misplaced(one: _Seen, reason: str) -> Finding:
    rid = None if one.record is None else one.record.rid
    return Finding(Damage.RESULT_WITHOUT_CALL, Repair.QUARANTINE, reason, one.position, rid)


def _unanswered(seen: Sequence[_Seen], slot: Slot) -> Finding:
    asking = seen[slot.asked]
    rid = None if asking.record is None else asking.record.rid
    placed = replace(slot, asked=asking.position, after=seen[slot.after].position)
    reason = "the result of one of its tool calls is missing"
    return Finding(
        Damage.CALL_WITHOUT_RESULT, Repair.INSERT_RESULT, reason, asking.position, rid, (asking.position,), placed
    )


def _open_turn(seen: Sequence[_Seen], found: Pairing, before_ms: float) -> int | None:
    """Return the index of the last AI record where its tools may still be at work, else None."""
    index = len(seen) - 1
    turn: list[_Seen] = []
    gone = {*found.without_call, *found.replaced}
    while index >= 0 and _is_result(seen[index]):
        turn += [] if index in gone else [seen[index]]
        index -= 1
    times = [None if one.record is None else one.record.time_ms for one in [*turn, *seen[index : index + 1]]]
    broken_off = all(time is not None and time < before_ms for time in times)
    return None if broken_off or index < 0 else index


def _is_result(one: _Seen) -> bool:
    return one.record is not None and one.record.type in TOOL_TYPES


def expiry_findings(expiries: Mapping[str, int | None], *, ttl: int | None = None) -> dict[str, Finding]:
    """Return which conversations lack the expiry that the others have, by key.

    Without a `ttl`, a key lacks one where there are at least two other conversations and more than half of them have
    one; it is to get the longest that is left to any of them.

    Args:
        expiries: For each key, the seconds left to it, or None where it never expires.
        ttl: Seconds that every key without an expiry is to get, whatever the others have.
    """
    known = [left for left in expiries.values() if left is not None]
    others = len(expiries) - 1
    if ttl is None and (others < 2 or len(known) * 2 <= others):
        return {}
    seconds = ttl if ttl is not None else max(1, *known)
    reason = "it never expires" if ttl is not None else f"it never expires, while {len(known)} of {others} others do"
    finding = Finding(Damage.NO_EXPIRY, Repair.SET_EXPIRY, reason, expiry=seconds)
    return {key: finding for key, left in expiries.items() if left is None}
