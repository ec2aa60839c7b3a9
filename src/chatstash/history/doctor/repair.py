"""Repairs, each one atomic script that may be sent twice.

A repair applies only if the records it depends on are still where they were, byte for byte. Concurrent changes,
interruptions and a second run therefore do no harm. Positions count from the oldest record, so appends do not move
them; the repairs of a conversation run from its newest record to its oldest, so none moves the next.

Records move within the database and are never sent, so they need not be UTF-8. Moves and insertions can leave a
conversation's length unchanged, so each increments its generation. The scripts lock only their keys
(https://upstash.com/docs/redis/features/key-locking).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from chatstash.errors import UnreadableRecord
from chatstash.history.doctor.diagnosis import Finding, Repair
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.history.records.generation import without_generation
from chatstash.history.records.identity import digest_of
from chatstash.history.records.index import fields_of, index_keys
from chatstash.history.records.keys import Owned, companion_key
from chatstash.history.records.record import RANDOM_BYTES, new_record_ids
from chatstash.history.scripts.loading import call, call_along
from chatstash.history.tool_calls.editing import stand_in, without_blocks
from chatstash.history.tool_calls.pairing import Slot
from chatstash.rest.commands import Argument, Batch, Command, Effect
from chatstash.rest.ops import Op, send


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One repair of a conversation, ready to be sent.

    Attributes:
        finding: The finding that it repairs.
        command: The script and its arguments.
    """

    finding: Finding
    command: Command = field(repr=False)


def apply_repair(step: RepairStep) -> Op[bool]:
    """Apply one repair; one request, billed as up to eleven commands."""
    replies = yield from send(Batch((step.command,), effect=Effect.IDEMPOTENT))
    return replies.values[0] == 1


def set_expiry(key: str, named: Owned | None, seconds: int) -> Op[bool]:
    """Set the expiry of a list that has none, and of the session on the index; returns whether it was set.

    One request, three commands, four if it was set.
    """
    along: list[Command] = []
    if named is not None:
        fields = fields_of(named.session_id)
        along.append(("HEXPIRE", index_keys(named.owner).info, seconds, "FIELDS", len(fields), *fields))
    script = call_along("expire_list", (key,), along, seconds)
    replies = yield from send(Batch((script,), effect=Effect.IDEMPOTENT))
    return replies.values[0] == 1


def plan_repairs(
    key: str, stored: Sequence[bytes], findings: Iterable[Finding], *, now_ms: int, randomness: Callable[[int], bytes]
) -> list[RepairStep]:
    """Return the repairs of a conversation, in the order in which to apply them."""
    planner = _Planner(key, list(stored), now_ms, randomness)
    return [planner.step(finding) for finding in _newest_first(findings)]


def _newest_first(findings: Iterable[Finding]) -> list[Finding]:
    # A result is inserted before its neighbour is removed; of several results for one place, the last goes first.
    repairable = [finding for finding in findings if finding.repair not in (Repair.SET_EXPIRY, Repair.NONE)]
    return sorted(repairable, key=_place)[::-1]


def _place(finding: Finding) -> float:
    if finding.missing_result is not None:
        return finding.missing_result.insert_after + 0.5
    return finding.position if finding.position is not None else -1


@dataclass(slots=True)
class _Planner:
    """Plans repairs one by one; `records` are those of the conversation after the repairs planned so far."""

    key: str
    records: list[bytes]
    now_ms: int
    randomness: Callable[[int], bytes]

    def step(self, finding: Finding) -> RepairStep:
        if finding.missing_result is not None:
            return RepairStep(finding, self._insertion(finding, finding.missing_result))
        if finding.repair is Repair.REMOVE_BLOCKS:
            return RepairStep(finding, self._removal_of_blocks(finding, finding.position or 0))
        return RepairStep(finding, self._move(finding, finding.position or 0))

    def _move(self, finding: Finding, position: int) -> Command:
        note = self._note(finding, position)
        keys = (self.key, companion_key("quarantine", self.key))
        command = self._script("quarantine", keys, position, note, [position, *finding.depends_on])
        del self.records[position]
        return command

    def _removal_of_blocks(self, finding: Finding, position: int) -> Command:
        note = self._note(finding, position)
        rest = encode(without_blocks(decode(self.records[position]), finding.blocks))
        keys = (self.key, companion_key("quarantine", self.key))
        expected = self._expected([position])
        self.records[position] = rest.encode()
        return call("replace", keys, _index(position), rest, note, *expected)

    def _insertion(self, finding: Finding, slot: Slot) -> Command:
        record = self._placeholder_result(slot)
        neighbours = [slot.insert_after, slot.insert_after + 1]
        command = self._script("insert", (self.key,), slot.insert_after, record, [*neighbours, *finding.depends_on])
        self.records.insert(slot.insert_after + 1, record.encode())
        return command

    def _script(
        self, name: str, keys: tuple[str, ...], position: int, payload: str, depends_on: Iterable[int]
    ) -> Command:
        marker = f"chatstash:placeholder:{self.randomness(16).hex()}"
        return call(name, keys, _index(position), marker, payload, *self._expected(depends_on))

    def _expected(self, positions: Iterable[int]) -> list[Argument]:
        """Return the index and digest of each record that the script checks, in turn."""
        return [word for position in positions for word in (_index(position), self._digest(position))]

    def _digest(self, position: int) -> str:
        """Return the digest of a record without its generation; empty where the list must end."""
        return digest_of(without_generation(self.records[position])) if position < len(self.records) else ""

    def _note(self, finding: Finding, position: int) -> str:
        """Return the note that precedes a record in the quarantine."""
        fields = {
            "key": self.key,
            "position": position,
            "damage": finding.damage,
            "reason": finding.reason,
            "rid": None if finding.record_id is None else str(finding.record_id),
            "time_ms": self.now_ms,
            "sha1": digest_of(self.records[position]),
            "move": self.randomness(8).hex(),
        }
        return json.dumps(fields, separators=(",", ":"))

    def _placeholder_result(self, slot: Slot) -> str:
        time_ms = self._time_around(slot.insert_after)
        (rid,) = new_record_ids(1, time_ms=time_ms, randomness=self.randomness(RANDOM_BYTES))
        return encode(replace(stand_in(slot.call), id=rid))

    def _time_around(self, position: int) -> int:
        """Return a time for a record after `position`: its neighbour's, so that times stay in order."""
        times = [_time_of(raw) for raw in self.records[position : position + 2]]
        return next((time for time in times if time is not None), self.now_ms)


def _index(position: int) -> int:
    return -1 - position


def _time_of(raw: bytes) -> int | None:
    try:
        return decode(raw).time_ms
    except UnreadableRecord:
        return None
