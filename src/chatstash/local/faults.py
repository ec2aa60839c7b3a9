"""Faults on demand: which, when, for which commands. Pure: it decides, and the gateway carries out.

Each is what a network or a server really does to a client; `docs/local.md` says what each leaves behind.
"""

from __future__ import annotations

import fnmatch
import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

from chatstash.local.commands import EngineCommand, name_of, text_of

FaultKind: TypeAlias = Literal[
    "delay",
    "reply_lost",
    "request_lost",
    "applied_late",
    "replayed",
    "reset",
    "truncated",
    "unavailable",
    "server_error",
    "throttled",
    "no_answer",
]
_LATE = {"delay", "applied_late", "replayed"}
_TAKE_SECONDS = {*_LATE, "throttled"}
_WAYS_TO_APPLY = {"reply_lost": True, "request_lost": False, "truncated": True, "throttled": False, "replayed": True}
"""Whether the commands are run, where the kind itself says it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with a request.

    Attributes:
        kind: `delay` (the request waits before it is run), `reply_lost` (run, then the connection is closed without a
            reply), `request_lost` (closed, nothing run), `applied_late` (closed at once, run after `seconds`),
            `replayed` (run and answered, and run a second time after `seconds`; without `seconds` and `held` at once,
            and the reply is that of the second run, as from a proxy that retries), `reset` (as `request_lost`, by a TCP
            reset), `truncated` (run, half of the body), `unavailable` (503 and a page of HTML), `server_error` (500
            and an error in JSON), `throttled` (429 and Retry-After), `no_answer` (the connection stays open, silent).
        seconds: How long a `delay` waits, how late `applied_late` and the second run of `replayed` are, what
            `throttled` asks the client to wait.
        jitter: Up to so many seconds more, at random; for `delay`, `applied_late` and `replayed`.
        held: Instead of `seconds`: until `LocalUpstash.release` (or POST /release); for the same kinds as `jitter`.
        probability: Of a request that matches being hit, from 0 to 1.
        times: How many requests to hit, at most; None is without end.
        matching: Which requests: those with a command of this name (`LPUSH`), or of this name and first argument
            (`LPUSH message_store:*`), `*` and `?` as in a shell, capitals or not; empty for all.
        applied: Whether the commands are run all the same; for `reset`, `unavailable`, `server_error`, `no_answer`. A
            `delay` that is applied holds up only the reply; `applied_late` is then run at once and a second time later.
    """

    kind: FaultKind
    seconds: float = 0.0
    jitter: float = 0.0
    held: bool = False
    probability: float = 1.0
    times: int | None = None
    matching: str = ""
    applied: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"there is no fault {self.kind!r}: choose one of {', '.join(get_args(FaultKind))}")
        for name in ("seconds", "jitter"):
            _check_number(name, getattr(self, name), 0, 3600)
        _check_number("probability", self.probability, 0, 1)
        self._check_time()
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise ValueError("times must be a whole number from 1, or None for without end")
        if not isinstance(self.matching, str):
            raise ValueError("matching must be text, such as LPUSH")
        if not isinstance(self.applied, bool | None):
            raise ValueError("applied must be true or false")
        if self.applied is not None and self.kind in _WAYS_TO_APPLY:
            raise ValueError(f"applied is not for {self.kind}, which says it itself")

    def _check_time(self) -> None:
        if self.seconds and self.kind not in _TAKE_SECONDS:
            raise ValueError(f"seconds is not for {self.kind}: only for {', '.join(sorted(_TAKE_SECONDS))}")
        if (self.jitter or self.held) and self.kind not in _LATE:
            name = "jitter" if self.jitter else "held"
            raise ValueError(f"{name} is not for {self.kind}: only for {', '.join(sorted(_LATE))}")
        if not isinstance(self.held, bool):
            raise ValueError("held must be true or false")
        if self.held and (self.seconds or self.jitter):
            raise ValueError("give either held or seconds: a request that is held waits until it is released")

    @property
    def runs_commands(self) -> bool:
        """Whether the commands are run before the client learns of the fault."""
        return _WAYS_TO_APPLY.get(self.kind, bool(self.applied))

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Make a fault of a text like `reply_lost:probability=0.1,matching=LPUSH`; raises ValueError."""
        kind, _, options = text.partition(":")
        values: dict[str, Any] = {}
        for option in filter(None, options.split(",")):
            name, sign, value = option.partition("=")
            if not sign or name not in _READERS:
                raise ValueError(f"{option!r} is no option of a fault: write {', '.join(_READERS)}, each with =")
            try:
                values[name] = _READERS[name](value)
            except ValueError:
                raise ValueError(f"{option!r} is no option of a fault: {name} takes a value of another kind") from None
        return cls(kind, **values)  # type: ignore[arg-type] # checked by __post_init__

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Make a fault of a decoded JSON object, or of a string as `parse` takes it; raises ValueError."""
        if isinstance(value, str):
            return cls.parse(value)
        known = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or "kind" not in value or not set(value) <= known:
            raise ValueError(f"a fault is an object with kind and any of {', '.join(sorted(known - {'kind'}))}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as `from_json` takes it."""
        return asdict(self)

    def matches(self, commands: Iterable[EngineCommand]) -> bool:
        """Tell whether a request with these commands is meant."""
        return matches(self.matching, commands)


def matches(pattern: str, commands: Iterable[EngineCommand]) -> bool:
    """Tell whether any of these commands is meant by a `Fault.matching`."""
    return not pattern or any(_matches(pattern, command) for command in commands)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}")


def _as_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false is wanted")
    return text.lower() == "true"


_READERS: dict[str, Any] = {
    "seconds": float,
    "jitter": float,
    "held": _as_bool,
    "probability": float,
    "times": int,
    "matching": str,
    "applied": _as_bool,
}


def _matches(pattern: str, command: EngineCommand) -> bool:
    name = name_of(command)
    whole = f"{name} {text_of(command[1])}" if len(command) > 1 else name
    wanted, _, rest = pattern.partition(" ")
    pattern = f"{wanted.upper()} {rest}" if rest else wanted.upper()
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(whole, pattern)


@dataclass(slots=True)
class _Rule:
    fault: Fault
    hits: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.hits >= self.fault.times


class Faults:
    """The faults of one server: a plan for the next requests, and rules for all. Any thread may change them.

    The plan comes first: `next` names a fault, or None, for each of the next requests in order. Where the plan has
    nothing, the rules of `add` are asked in order; delays add up, and of the others the first that hits counts.

    Args:
        seed: Makes the chances repeatable.
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
        """Plan the next requests, one fault each, in order; None lets one pass. Options go to each kind given.

        A planned fault with `matching` waits for a request that matches; the others behind it wait as well.
        """
        made = [None if fault is None else _made(fault, options) for fault in faults]
        if any(fault is not None and fault.probability < 1 for fault in made):
            raise ValueError("a plan has no chances: probability is for add")
        with self._lock:
            self._plan.extend(made)
            self.is_empty = not (self._plan or self._rules)

    def clear(self) -> None:
        """Take all faults away, and begin the chances anew only where `seed` is called."""
        with self._lock:
            self._plan.clear()
            self._rules.clear()
            self.is_empty = True

    def seed(self, seed: int | None) -> None:
        """Begin the chances anew."""
        with self._lock:
            self._random.seed(seed)

    def to_json(self) -> dict[str, Any]:
        """Return what is planned and which rules there are, with how often each has hit."""
        with self._lock:
            return {
                "next": [fault and fault.to_json() for fault in self._plan],
                "rules": [{**rule.fault.to_json(), "hits": rule.hits} for rule in self._rules],
            }

    def pick(self, commands: Sequence[EngineCommand]) -> list[Fault]:
        """Return the faults of a request with these commands: any delays, and at most one other."""
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
