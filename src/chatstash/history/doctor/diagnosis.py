"""Finds what is wrong with a stored conversation, and chooses the repair.

After the repairs, every record can be read, and model providers accept the conversation. Records that cannot stay move
to quarantine. Uncertain cases and records in a newer format are left alone.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from chatstash.errors import CorruptRecord, UnsupportedRecord
from chatstash.history.records.decoding import decode
from chatstash.history.records.message_types import AI_TYPES, FUNCTION_TYPES, HUMAN_TYPES, KNOWN_TYPES, TOOL_TYPES
from chatstash.history.records.record import Record, RecordId
from chatstash.history.tool_calls.formats import results_of
from chatstash.history.tool_calls.pairing import CallGroup, Pairing, Slot, pair, pending_index

DEFAULT_ABANDONED_AFTER = 3600
"""Seconds after which a last turn without its tool results counts as abandoned."""

ReadabilityCheck: TypeAlias = Callable[[Record], str | None]
"""Returns why a record cannot become a message, or None if it can."""

_MAX_VERSION_LENGTH = 15

_WITHOUT_TOOLS = KNOWN_TYPES - AI_TYPES - TOOL_TYPES - HUMAN_TYPES - FUNCTION_TYPES
"""Types of records that hold neither tool calls nor results."""


class Damage(enum.StrEnum):
    """A kind of damage. The quarantine stores these values."""

    UNDECODABLE = "undecodable"
    UNKNOWN_TYPE = "unknown-type"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    RESULT_WITHOUT_CALL = "result-without-call"
    CALL_WITHOUT_RESULT = "call-without-result"
    NEWER_FORMAT = "newer-format"
    NO_EXPIRY = "no-expiry"


class Repair(enum.StrEnum):
    """A way to repair damage."""

    QUARANTINE = "quarantine"
    REMOVE_BLOCKS = "remove-blocks"
    INSERT_RESULT = "insert-result"
    SET_EXPIRY = "set-expiry"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage and its repair.

    Attributes:
        damage: The kind of damage.
        repair: How it is repaired.
        reason: What is wrong, in words; quotes no message.
        position: The record's position, 0 for the oldest; None if the finding concerns the key.
        record_id: The record's id, or None.
        depends_on: Positions of the older records that the finding depends on.
        missing_result: The call without a result, and where the result belongs, by position.
        blocks: The content blocks to remove from the record.
        ttl: The expiry to set, in seconds.
    """

    damage: Damage
    repair: Repair
    reason: str
    position: int | None = None
    record_id: RecordId | None = None
    depends_on: tuple[int, ...] = ()
    missing_result: Slot | None = None
    blocks: tuple[int, ...] = ()
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A record that stays in the conversation.

    Attributes:
        position: Its position.
        record: Its content, or None if it may hold tool calls or results that cannot be read.
    """

    position: int
    record: Record | None

    @property
    def id(self) -> RecordId | None:
        return None if self.record is None else self.record.id


def diagnose(
    stored: Sequence[bytes],
    why_unreadable: ReadabilityCheck,
    *,
    now_ms: int,
    abandoned_after: float = DEFAULT_ABANDONED_AFTER,
) -> list[Finding]:
    """Return the findings in a conversation, oldest record first."""
    findings: list[Finding] = []
    kept = _without_unreadable(stored, why_unreadable, findings)
    kept = _without_duplicates(kept, findings)
    findings += _tool_call_findings(kept, before_ms=now_ms - abandoned_after * 1000)
    return sorted(findings, key=lambda finding: -1 if finding.position is None else finding.position)


def _without_unreadable(
    stored: Sequence[bytes], why_unreadable: ReadabilityCheck, findings: list[Finding]
) -> list[_Kept]:
    kept: list[_Kept] = []
    for position, raw in enumerate(stored):
        try:
            record = decode(raw, position=position)
        except CorruptRecord as error:
            findings.append(Finding(Damage.UNDECODABLE, Repair.QUARANTINE, error.reason, position))
        except UnsupportedRecord as error:
            findings.append(_newer_format(error, position))
            kept.append(_Kept(position, _record_without_tools(raw)))
        else:
            if finding := _unreadable(record, position, why_unreadable):
                findings.append(finding)
            else:
                kept.append(_Kept(position, record))
    return kept


def _unreadable(record: Record, position: int, why_unreadable: ReadabilityCheck) -> Finding | None:
    if record.type not in KNOWN_TYPES:
        return Finding(Damage.UNKNOWN_TYPE, Repair.QUARANTINE, "unknown message type", position, record.id)
    if (reason := why_unreadable(record)) is not None:
        return Finding(Damage.UNREADABLE, Repair.QUARANTINE, reason, position, record.id)
    return None


def _newer_format(error: UnsupportedRecord, position: int) -> Finding:
    # Any other value may be text that someone stored.
    version = f" {error.version}"[:_MAX_VERSION_LENGTH] if type(error.version) is int else ""
    reason = f"record format{version} needs a newer version of chatstash: upgrade it"
    return Finding(Damage.NEWER_FORMAT, Repair.NONE, reason, position)


def _record_without_tools(raw: bytes) -> Record | None:
    """Return a record in a newer format as an empty one if its type cannot hold tool calls or results, else None."""
    try:
        kind = json.loads(raw).get("type")
    except (ValueError, RecursionError):
        return None
    return Record(kind, {}) if isinstance(kind, str) and kind in _WITHOUT_TOOLS else None


def _without_duplicates(candidates: Sequence[_Kept], findings: list[Finding]) -> list[_Kept]:
    first: dict[RecordId, int] = {}
    kept: list[_Kept] = []
    for one in candidates:
        original = one.position if one.id is None else first.setdefault(one.id, one.position)
        if original == one.position:
            kept.append(one)
        else:
            reason = f"duplicate of the record at position {original}"
            findings.append(
                Finding(Damage.DUPLICATE, Repair.QUARANTINE, reason, one.position, one.id, depends_on=(original,))
            )
    return kept


def _tool_call_findings(kept: Sequence[_Kept], *, before_ms: float) -> Iterator[Finding]:
    pairing = pair([one.record for one in kept])
    for index in pairing.replaced:
        yield _orphan(kept[index], "placeholder for a tool result that has arrived since")
    yield from _results_without_call(kept, pairing)
    open_turn = _open_turn(kept, pairing, before_ms)
    for slot in pairing.missing:
        if slot.call_index != open_turn:
            yield _call_without_result(kept, slot)


def _orphan(one: _Kept, reason: str) -> Finding:
    return Finding(Damage.RESULT_WITHOUT_CALL, Repair.QUARANTINE, reason, one.position, one.id)


def _results_without_call(kept: Sequence[_Kept], pairing: Pairing) -> Iterator[Finding]:
    """Yield the records that hold only results without a call, and the blocks of those that hold more."""
    reason = "tool result without a preceding call"
    orphans: dict[int, list[int | None]] = {}
    for place in pairing.orphans:
        orphans.setdefault(place.record, []).append(place.block)
    for index, blocks in orphans.items():
        one = kept[index]
        if one.record is None:
            continue
        removed = tuple(block for block in blocks if block is not None)
        if None not in blocks and len(removed) < len(one.record.data["content"]):
            yield Finding(
                Damage.RESULT_WITHOUT_CALL, Repair.REMOVE_BLOCKS, reason, one.position, one.id, blocks=removed
            )
        elif len(blocks) == len(results_of(one.record)):
            yield _orphan(one, reason)


def _call_without_result(kept: Sequence[_Kept], slot: Slot) -> Finding:
    caller = kept[slot.call_index]
    return Finding(
        Damage.CALL_WITHOUT_RESULT,
        Repair.INSERT_RESULT,
        "tool call without a result",
        caller.position,
        caller.id,
        depends_on=(caller.position,),
        missing_result=Slot(CallGroup(caller.position, kept[slot.insert_after].position), slot.call),
    )


def _open_turn(kept: Sequence[_Kept], pairing: Pairing, before_ms: float) -> int | None:
    """Return the index of the last AI record if its tools may still be running, else None."""
    index = pending_index([one.record for one in kept])
    if index is None:
        return None
    removed = {*(place.record for place in pairing.orphans), *pairing.replaced}
    turn = [one for place, one in enumerate(kept[index:], index) if place not in removed]
    times = [None if one.record is None else one.record.time_ms for one in turn]
    abandoned = all(time is not None and time < before_ms for time in times)
    return None if abandoned else index


def no_expiry(ttl: int) -> Finding:
    """Return the finding for a conversation that never expires and should expire in `ttl` seconds."""
    return Finding(Damage.NO_EXPIRY, Repair.SET_EXPIRY, "never expires", ttl=ttl)
