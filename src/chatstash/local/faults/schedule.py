"""The faults of a server: a plan for the next requests, and rules for all. Pure: the gateway carries them out."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatstash.local.engine.commands import EngineCommand
from chatstash.local.faults.fault import Fault, FaultKind


@dataclass(slots=True)
class _Rule:
    fault: Fault
    hits: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.hits >= self.fault.times


class Faults:
    """The faults of one server. Any thread may change them.

    The plan takes precedence: `next` names a fault, or None, for each of the next requests in order. While it is empty,
    the rules of `add` are tried in order. All delays that hit add up; of the other faults only the first one counts.

    Args:
        seed: Makes random faults repeatable.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chances, not secrets
        self._plan: deque[Fault | None] = deque()
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self.is_empty = True

    def add(self, fault: Fault | FaultKind, **options: Any) -> None:
        """Add a rule: a `Fault`, or its kind and options, as in `add("reply_lost", probability=0.1)`."""
        made = _made(fault, options)
        with self._lock:
            self._rules.append(_Rule(made))
            self.is_empty = False

    def next(self, *faults: Fault | FaultKind | None, **options: Any) -> None:
        """Plan a fault for each of the next requests, in order; None lets one pass. Options apply to each given kind.

        A planned fault with `matching` waits for a matching request, and the later ones wait behind it.
        """
        made = [None if fault is None else _made(fault, options) for fault in faults]
        if any(fault is not None and fault.probability < 1 for fault in made):
            raise ValueError("probability does not apply to next, only to add")
        with self._lock:
            self._plan.extend(made)
            self.is_empty = not (self._plan or self._rules)

    def clear(self) -> None:
        """Remove all faults. Does not reset the random numbers; `seed` does."""
        with self._lock:
            self._plan.clear()
            self._rules.clear()
            self.is_empty = True

    def seed(self, seed: int | None) -> None:
        """Reset the random numbers."""
        with self._lock:
            self._random.seed(seed)

    def to_json(self) -> dict[str, Any]:
        """Return the plan and the rules, with the number of hits of each."""
        with self._lock:
            return {
                "next": [fault and fault.to_json() for fault in self._plan],
                "rules": [{**rule.fault.to_json(), "hits": rule.hits} for rule in self._rules],
            }

    def pick(self, commands: Sequence[EngineCommand]) -> list[Fault]:
        """Return the faults that hit a request with these commands: delays, and at most one other."""
        if self.is_empty:
            return []
        with self._lock:
            picked = self._planned(commands) if self._plan else self._ruled(commands)
            self._rules = [rule for rule in self._rules if not rule.is_spent]
            self.is_empty = not (self._plan or self._rules)
        return picked

    def _planned(self, commands: Sequence[EngineCommand]) -> list[Fault]:
        fault = self._plan[0]
        if fault is None:
            self._plan.popleft()
            return []
        if not fault.matches(commands):
            return []
        left = (fault.times or 1) - 1
        if left:
            self._plan[0] = replace(fault, times=left)
        else:
            self._plan.popleft()
        return [self._timed(fault)]

    def _ruled(self, commands: Sequence[EngineCommand]) -> list[Fault]:
        picked: list[Fault] = []
        has_other = False
        for rule in self._rules:
            fault = rule.fault
            if (has_other and fault.kind != "delay") or not fault.matches(commands):
                continue
            if self._random.random() < fault.probability:
                rule.hits += 1
                has_other = has_other or fault.kind != "delay"
                picked.append(self._timed(fault))
        return picked

    def _timed(self, fault: Fault) -> Fault:
        if not fault.jitter:
            return fault
        return replace(fault, seconds=fault.seconds + self._random.random() * fault.jitter, jitter=0.0)


def _made(fault: Fault | FaultKind, options: Mapping[str, Any]) -> Fault:
    if isinstance(fault, Fault):
        return replace(fault, **options) if options else fault
    return Fault(fault, **options)
