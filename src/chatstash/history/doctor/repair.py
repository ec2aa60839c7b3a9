"""Repairs, as operations: each one atomic request that may be sent twice. Pure: no I/O of its own.

A repair is done only where the records it rests on are still, byte for byte, where they were seen; so what others do
meanwhile, an interruption or a second run do no harm. Positions are counted from the oldest record, which appends do
not move, and the repairs of a conversation run from its newest record to its oldest, so none moves the next one's.

Records are moved within the database, never sent: they need not be UTF-8. Together, moves and insertions may leave a
conversation as long as it was, so each counts up its generation. The scripts lock only the keys they name
(https://upstash.com/docs/redis/features/key-locking).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from chatstash.errors import UnreadableRecord
from chatstash.history.doctor.diagnosis import Finding, Repair
from chatstash.history.records.generation import without_generation
from chatstash.history.records.identity import digest_of
from chatstash.history.records.keys import companion_key
from chatstash.history.records.record import RANDOM_BYTES, decode, encode, record_ids
from chatstash.history.scripts.loading import call
from chatstash.history.tool_calls.formats import stand_in, without_blocks
from chatstash.history.tool_calls.pairing import Slot
from chatstash.rest.commands import Argument, Batch, Command, Effect
from chatstash.rest.ops import Op, send


@dataclass(frozen=True, slots=True)
class Step:
    """One repair of a conversation, ready to be sent.

    Attributes:
        finding: What it repairs.
        command: The script and its arguments.
    """

    finding: Finding
    command: Command = field(repr=False)


def do(step: Step) -> Op[bool]:
    """Do one repair; one request, of up to eleven commands as billed.

    Returns:
        Whether it is done, now or by an earlier sending of the same; False where the conversation has changed.
    """
    replies = yield from send(Batch((step.command,), effect=Effect.IDEMPOTENT))
    return replies.values[0] == 1


def set_expiry(key: str, seconds: int) -> Op[bool]:
    """Set an expiry where a list has none; one request, three commands. Returns whether it was set."""
    replies = yield from send(Batch((call("expire_list", (key,), seconds),), effect=Effect.IDEMPOTENT))
    return replies.values[0] == 1


def steps(
    key: str, stored: Sequence[bytes], findings: Iterable[Finding], *, now_ms: int, randomness: Callable[[int], bytes]
) -> list[Step]:
    """Return the repairs of a conversation, in the order in which they are to be done.

    Args:
        key: The conversation's key.
        stored: Its records as they were seen, oldest first.
        findings: What was found in them.
        now_ms: Now, in milliseconds since the epoch.
        randomness: Gives so many random bytes.
    """
    plan = _Plan(key, list(stored), now_ms, randomness)
    return [plan.step(finding) for finding in _newest_first(findings)]


def _newest_first(findings: Iterable[Finding]) -> list[Finding]:
    # A result goes in after its neighbour; that neighbour, if at all, is removed later. Of several that go to the
    # same place the last goes in first.
    concerned = [finding for finding in findings if finding.repair not in (Repair.SET_EXPIRY, Repair.NONE)]
    return sorted(concerned, key=_place)[::-1]


def _place(finding: Finding) -> float:
    if finding.missing is not None:
        return finding.missing.after + 0.5
    return finding.position if finding.position is not None else -1


@dataclass(slots=True)
class _Plan:
    """The conversation as it will be after the steps planned so far."""

    key: str
    records: list[bytes]
    now_ms: int
    randomness: Callable[[int], bytes]

    def step(self, finding: Finding) -> Step:
        if finding.missing is not None:
            return Step(finding, self._insertion(finding, finding.missing))
        if finding.repair is Repair.TAKE_OUT:
            return Step(finding, self._taking_out(finding, finding.position or 0))
        return Step(finding, self._move(finding, finding.position or 0))

    def _move(self, finding: Finding, position: int) -> Command:
        note = self._note(finding, position)
        keys = (self.key, companion_key("quarantine", self.key))
        command = self._script("quarantine", keys, position, note, [position, *finding.evidence])
        del self.records[position]
        return command

    def _taking_out(self, finding: Finding, position: int) -> Command:
        note = self._note(finding, position)
        rest = encode(without_blocks(decode(self.records[position]), finding.blocks))
        keys = (self.key, companion_key("quarantine", self.key))
        seen = (_index(position), self._seen(position))
        self.records[position] = rest.encode()
        return call("replace", keys, _index(position), rest, note, *seen)

    def _insertion(self, finding: Finding, slot: Slot) -> Command:
        record = self._stand_in(slot)
        seen = [slot.after, slot.after + 1, *finding.evidence]
        command = self._script("insert", (self.key,), slot.after, record, seen)
        self.records.insert(slot.after + 1, record.encode())
        return command

    def _script(self, script: str, keys: tuple[str, ...], position: int, what: str, seen: Iterable[int]) -> Command:
        placeholder = f"chatstash:placeholder:{self.randomness(16).hex()}"
        as_seen: list[Argument] = [word for at in seen for word in (_index(at), self._seen(at))]
        return call(script, keys, _index(position), placeholder, what, *as_seen)

    def _seen(self, position: int) -> str:
        """Return what a record is known by, whatever its generation is; empty for one that should not be there."""
        return digest_of(without_generation(self.records[position])) if position < len(self.records) else ""

    def _note(self, finding: Finding, position: int) -> str:
        """Return what stands in the quarantine before a record."""
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

    def _stand_in(self, slot: Slot) -> str:
        time_ms = self._time_around(slot.after)
        (rid,) = record_ids(1, time_ms=time_ms, randomness=self.randomness(RANDOM_BYTES))
        return encode(replace(stand_in(slot.call), id=rid))

    def _time_around(self, position: int) -> int:
        """Return a time for a record after `position`: its neighbour's, so that times do not run backwards."""
        times = [_time_of(raw) for raw in self.records[position : position + 2]]
        return next((time for time in times if time is not None), self.now_ms)


def _index(position: int) -> int:
    return -1 - position


def _time_of(raw: bytes) -> int | None:
    try:
        return decode(raw).time_ms
    except UnreadableRecord:
        return None
