"""The doctor: finds the damages of a database's conversations and repairs them, one conversation at a time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chatstash.errors import WrongType
from chatstash.history.doctor import repair
from chatstash.history.doctor.diagnosis import (
    DEFAULT_OLDER_THAN,
    Damage,
    Finding,
    Repair,
    Unreadable,
    diagnose,
    expiry_findings,
)
from chatstash.history.operations import scan as listing
from chatstash.history.records.keys import checked_key, checked_ttl, companion_key
from chatstash.history.steps.chunks import stored_records
from chatstash.history.store import Store
from chatstash.rest.database import Database
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Op

T = TypeVar("T")

_UNREADABLE = {Damage.UNDECODABLE, Damage.UNKNOWN_TYPE, Damage.UNREADABLE}
_PASSES = 10
_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in one conversation.

    Attributes:
        key: Its key.
        stored: Its records as they were seen, oldest first.
        findings: Its damages, oldest record first.

    A conversation that does not exist has no records.
    """

    key: str
    stored: Sequence[bytes]
    findings: list[Finding]

    @property
    def holds_no_message(self) -> bool:
        """Whether not one record can be read as a message, so that it may be another list altogether."""
        unreadable = sum(finding.damage in _UNREADABLE for finding in self.findings)
        return bool(self.stored) and unreadable == len(self.stored)


class Doctor:
    """Finds and repairs damage in the conversations of a store's database. Changes nothing but by `treat` and `expire`.

    Args:
        store: The store; its prefix and its options count.
        unreadable: Says why no message can be made of a record.
        older_than: Seconds after which a last turn that waits for a tool's result is taken for broken off.

    Raises:
        ValueError: `older_than` is no number of seconds from 0 on.
    """

    def __init__(self, store: Store, unreadable: Unreadable, *, older_than: float = DEFAULT_OLDER_THAN) -> None:
        if not isinstance(older_than, (int, float)) or isinstance(older_than, bool) or not older_than >= 0:
            raise ValueError(f"older_than must be a number of seconds, 0 or more, not {older_than!r}")
        self._prefix = store.key_prefix
        self._unreadable = unreadable
        self._older_than = older_than
        self._database = Database(store.endpoint)
        self._options = store.options

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def listed(self) -> Iterator[bytes]:
        """Yield each key that begins with the store's prefix, once; one request for each 1000 or so.

        With an empty prefix, the keys of lists only: the others are certainly another program's.

        Raises:
            ReadOnlyToken: A read-only token may not list keys.
        """
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, found = self._run("list", listing.scan(self._prefix, cursor), "", self._reading)
            fresh = [key for key in dict.fromkeys(found) if key not in seen]
            seen.update(fresh)
            yield from fresh
            if cursor == "0":
                return

    def examine(self, key: str) -> Examination:
        """Look for damage in one conversation; changes nothing. One request, or several where it is large.

        Raises:
            ValueError: The key is not that of a conversation.
            WrongType: The key holds no list.
        """
        op = stored_records(checked_key(key), None, self._options.max_request_bytes)
        stored = self._run("examine", op, key, self._reading)
        return Examination(
            key, stored, diagnose(stored, self._unreadable, now_ms=_now_ms(), older_than=self._older_than)
        )

    def treat(self, examination: Examination, repaired: Callable[[Finding], None]) -> list[Finding]:
        """Repair a conversation; one request for each repair. May be interrupted at any time, and run again.

        Args:
            examination: What was found.
            repaired: Told of each repair once it is done.

        Returns:
            What remains: what is left alone, and what others changed again and again meanwhile.

        Raises:
            WrongType: The conversation's key, or that of its quarantine, holds something else.
        """
        for _ in range(_PASSES):
            steps = repair.steps(
                examination.key, examination.stored, examination.findings,
                now_ms=_now_ms(), randomness=secrets.token_bytes,
            )  # fmt: skip
            undone = [step for step in steps if not self._do(examination.key, step, repaired)]
            if not undone:
                return [finding for finding in examination.findings if finding.repair is Repair.NONE]
            examination = self.examine(examination.key)
        return examination.findings

    def _do(self, key: str, step: repair.Step, repaired: Callable[[Finding], None]) -> bool:
        try:
            done = self._run("repair", repair.do(step), key, self._repairing)
        except WrongType as error:
            error.problem = f"The key, or its quarantine {companion_key('quarantine', key)}, holds no list"
            raise
        if done:
            repaired(step.finding)
        return done

    def without_expiry(self, keys: Collection[str], *, ttl: int) -> Mapping[str, Finding]:
        """Return which of some conversations never expire; a command for each.

        Args:
            keys: The conversations' keys.
            ttl: Seconds that each of them is to get.

        Raises:
            ValueError: The ttl cannot be one.
        """
        if checked_ttl(ttl) is None:
            raise ValueError("ttl must be a number of seconds: without one, expiries are left as they are")
        ordered, left = list(keys), dict[str, int | None]()
        for begin in range(0, len(ordered), _KEYS_AT_ONCE):
            some = ordered[begin : begin + _KEYS_AT_ONCE]
            left |= self._run("expiries", listing.expiries(some), "", self._reading)
        return expiry_findings(left, ttl)

    def expire(self, key: str, finding: Finding) -> bool:
        """Set the expiry that a conversation lacks; one request, three commands.

        Returns:
            Whether it was set; False where it has one by now, or is gone.
        """
        if finding.expiry is None:
            return False
        return self._run("expire", repair.set_expiry(key, finding.expiry), key, self._repairing)

    @property
    def _reading(self) -> Budget:
        return self._options.retry_policy.read

    @property
    def _repairing(self) -> Budget:
        return self._options.retry_policy.idempotent

    def _run(self, name: str, op: Op[T], key: str, budget: Budget) -> T:
        return self._database.run(name, op, key, budget)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
