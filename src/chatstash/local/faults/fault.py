"""One fault: something that a network or a server really does to a client. Pure.

docs/local.md lists what each kind does to the data.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from chatstash.local.engine.commands import EngineCommand, name_of, text_of

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
"""The kinds that fix whether the commands are run."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with a request.

    Attributes:
        kind: What goes wrong:
            `delay`: the request waits before its commands are run.
            `reply_lost`: the commands are run, then the connection is closed without a reply.
            `request_lost`: the connection is closed, and nothing is run.
            `applied_late`: the connection is closed at once, and the commands are run later.
            `replayed`: the commands are run and answered, and run again later. Without `seconds` and `held`, they are
            run again at once, and the reply is that of the second run, as from a proxy that retries.
            `reset`: a TCP reset, and nothing is run.
            `truncated`: the commands are run, and half of the body is sent.
            `unavailable`: status 503 and a page of HTML.
            `server_error`: status 500 and an error in JSON.
            `throttled`: status 429 and Retry-After.
            `no_answer`: the connection stays open and silent.
        seconds: The time that a `delay` takes, the time until the late run of `applied_late` and `replayed`, and the
            Retry-After of `throttled`.
        jitter: Up to this many random seconds more, for `delay`, `applied_late` and `replayed`.
        held: Wait for `LocalUpstash.release` (or POST /release) instead of `seconds`; for the same kinds as `jitter`.
        probability: The probability that a matching request is hit, from 0 to 1.
        times: The largest number of requests to hit; None for no limit.
        matching: The requests to hit: those with a command of this name (`LPUSH`), or of this name and first argument
            (`LPUSH message_store:*`). `*` and `?` work as in a shell, the case of the name does not matter, and an
            empty pattern matches all requests.
        applied: Whether the commands are run anyway, for `reset`, `unavailable`, `server_error` and `no_answer`. For a
            `delay`, they are run first and only the reply waits. For `applied_late`, they are run at once and again
            later.
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
            raise ValueError(f"unknown fault {self.kind!r}: choose one of {', '.join(get_args(FaultKind))}")
        for name in ("seconds", "jitter"):
            _check_number(name, getattr(self, name), 0, 3600)
        _check_number("probability", self.probability, 0, 1)
        self._check_time()
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise ValueError("times must be a whole number from 1, or None for no limit")
        if not isinstance(self.matching, str):
            raise ValueError("matching must be a string, such as LPUSH")
        if not isinstance(self.applied, bool | None):
            raise ValueError("applied must be true or false")
        if self.applied is not None and self.kind in _WAYS_TO_APPLY:
            raise ValueError(f"applied does not apply to {self.kind}")

    def _check_time(self) -> None:
        if self.seconds and self.kind not in _TAKE_SECONDS:
            raise ValueError(f"seconds does not apply to {self.kind}, only to {', '.join(sorted(_TAKE_SECONDS))}")
        if (self.jitter or self.held) and self.kind not in _LATE:
            name = "jitter" if self.jitter else "held"
            raise ValueError(f"{name} does not apply to {self.kind}, only to {', '.join(sorted(_LATE))}")
        if not isinstance(self.held, bool):
            raise ValueError("held must be true or false")
        if self.held and (self.seconds or self.jitter):
            raise ValueError("give either held or seconds: a held request waits until it is released")

    @property
    def runs_commands(self) -> bool:
        """Whether the commands are run before the client learns of the fault."""
        return _WAYS_TO_APPLY.get(self.kind, bool(self.applied))

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Parse a fault such as `reply_lost:probability=0.1,matching=LPUSH`; raises ValueError."""
        kind, _, options = text.partition(":")
        values: dict[str, Any] = {}
        for option in filter(None, options.split(",")):
            name, sign, value = option.partition("=")
            if not sign or name not in _READERS:
                raise ValueError(
                    f"{option!r} is not an option of a fault: use {', '.join(_READERS)}, each as name=value"
                )
            try:
                values[name] = _READERS[name](value)
            except ValueError:
                raise ValueError(f"{option!r} is not an option of a fault: the value of {name} is invalid") from None
        return cls(kind, **values)  # type: ignore[arg-type] # checked by __post_init__

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Return the fault of a decoded JSON object, or of a string for `parse`; raises ValueError."""
        if isinstance(value, str):
            return cls.parse(value)
        known = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or "kind" not in value or not set(value) <= known:
            raise ValueError(f"a fault must be an object with kind and any of {', '.join(sorted(known - {'kind'}))}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as an object for `from_json`."""
        return asdict(self)

    def matches(self, commands: Iterable[EngineCommand]) -> bool:
        """Return whether a request with these commands matches."""
        return matches(self.matching, commands)


def matches(pattern: str, commands: Iterable[EngineCommand]) -> bool:
    """Return whether any of these commands matches the pattern of a `Fault.matching`."""
    return not pattern or any(_matches(pattern, command) for command in commands)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}")


def _as_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("not true or false")
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
