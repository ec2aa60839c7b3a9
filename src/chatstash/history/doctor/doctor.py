"""The doctor: finds and repairs damaged conversations of a database, one at a time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chatstash.errors import WrongType
from chatstash.history.doctor.diagnosis import (
    DEFAULT_ABANDONED_AFTER,
    Damage,
    Finding,
    ReadabilityCheck,
    Repair,
    diagnose,
)
from chatstash.history.doctor.repair import RepairStep, apply_repair, plan_repairs, set_expiry
from chatstash.history.operations import scan
from chatstash.history.records.keys import checked_key, companion_key, owned
from chatstash.history.steps.chunks import stored_records
from chatstash.history.store import Store
from chatstash.rest.database import Database
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Op

T = TypeVar("T")

_UNREADABLE = {Damage.UNDECODABLE, Damage.UNKNOWN_TYPE, Damage.UNREADABLE}
_MAX_PASSES = 10
_KEYS_PER_REQUEST = 500


@dataclass(frozen=True, slots=True)
class Examination:
    """The findings in one conversation.

    Attributes:
        key: The conversation's key.
        records: The stored records, oldest first; empty if the conversation does not exist.
        findings: The findings, oldest record first.
    """

    key: str
    records: Sequence[bytes]
    findings: list[Finding]

    @property
    def has_no_message(self) -> bool:
        """Whether no record is a readable message, so that the list may not be a conversation."""
        unreadable = sum(finding.damage in _UNREADABLE for finding in self.findings)
        return bool(self.records) and unreadable == len(self.records)


class Doctor:
    """Finds and repairs damage in the conversations of a database. Only `repair` and `set_expiry` change anything."""

    def __init__(
        self, store: Store, why_unreadable: ReadabilityCheck, *, abandoned_after: float = DEFAULT_ABANDONED_AFTER
    ) -> None:
        if not abandoned_after >= 0:
            raise ValueError(f"abandoned_after must be a number of seconds, 0 or more, not {abandoned_after!r}")
        self._prefix = store.key_prefix
        self._why_unreadable = why_unreadable
        self._abandoned_after = abandoned_after
        self._database = Database(store.endpoint)
        self._policy = store.options.retry_policy
        self._max_request_bytes = store.options.max_request_bytes

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def list_keys(self) -> Iterator[bytes]:
        """Yield each key that starts with the store's prefix, once; one request for each 1000 keys of the database.

        With an empty prefix, yields only the keys of lists.
        """
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, found = self._run("list", scan.scan(self._prefix, cursor), "", self._policy.read)
            new = [key for key in dict.fromkeys(found) if key not in seen]
            seen.update(new)
            yield from new
            if cursor == "0":
                return

    def examine(self, key: str) -> Examination:
        """Find damage in one conversation; changes nothing. One request, or several if it is large."""
        op = stored_records(checked_key(key), None, self._max_request_bytes)
        records = self._run("examine", op, key, self._policy.read)
        findings = diagnose(records, self._why_unreadable, now_ms=_now_ms(), abandoned_after=self._abandoned_after)
        return Examination(key, records, findings)

    def repair(self, examination: Examination, on_repaired: Callable[[Finding], None]) -> list[Finding]:
        """Repair a conversation; one request per finding. May be interrupted at any time, and run again."""
        for _ in range(_MAX_PASSES):
            steps = plan_repairs(
                examination.key, examination.records, examination.findings,
                now_ms=_now_ms(), randomness=secrets.token_bytes,
            )  # fmt: skip
            failed = [step for step in steps if not self._apply(examination.key, step, on_repaired)]
            if not failed:
                return [finding for finding in examination.findings if finding.repair is Repair.NONE]
            examination = self.examine(examination.key)
        return examination.findings

    def _apply(self, key: str, step: RepairStep, on_repaired: Callable[[Finding], None]) -> bool:
        try:
            done = self._run("repair", apply_repair(step), key, self._policy.idempotent)
        except WrongType as error:
            error.problem = f"The key, or its quarantine {companion_key('quarantine', key)}, does not hold a list"
            raise
        if done:
            on_repaired(step.finding)
        return done

    def keys_without_expiry(self, keys: Sequence[str]) -> list[str]:
        """Return the conversations that never expire; one command each, one request for 500."""
        ttls = dict[str, int | None]()
        for start in range(0, len(keys), _KEYS_PER_REQUEST):
            some = keys[start : start + _KEYS_PER_REQUEST]
            ttls |= self._run("expiries", scan.expiries(some), "", self._policy.read)
        return [key for key, ttl in ttls.items() if ttl is None]

    def set_expiry(self, key: str, ttl: int) -> bool:
        """Set the expiry of a conversation that has none, in seconds; one request, three or four commands."""
        return self._run("expire", set_expiry(key, owned(key, self._prefix), ttl), key, self._policy.idempotent)

    def _run(self, name: str, op: Op[T], key: str, budget: Budget) -> T:
        return self._database.run(name, op, key, budget)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
