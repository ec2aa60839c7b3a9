"""The limits of Upstash's plans, and the errors of requests beyond them. Pure.

https://upstash.com/docs/redis/overall/billing and https://upstash.com/pricing/redis, read in November 2026; the error
texts: https://upstash.com/docs/redis/troubleshooting.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

_MB = 1024 * 1024
_GB = 1024 * _MB
_SEE = "See https://upstash.com/docs/redis/troubleshooting for details"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one database; None is no limit.

    Attributes:
        max_request_bytes: Size of one command, and of the reply to one command, in bytes.
        max_record_bytes: Size of one key with its value, in bytes.
        max_key_bytes: Length of the name of a key, in bytes.
        max_data_bytes: Size of all data, in bytes. Once it is reached, commands that may add data are refused.
        max_commands: Number of billed commands. Upstash counts them by the month, the local server since its start.
    """

    max_request_bytes: int | None = 10 * _MB
    max_record_bytes: int | None = 100 * _MB
    max_key_bytes: int | None = 32 * 1024
    max_data_bytes: int | None = 100 * _GB
    max_commands: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{field.name} must be a whole number from 1, or None for no limit")


_PAYG = Limits()


def _fixed(data: int, request_mb: int, record_mb: int) -> Limits:
    return replace(_PAYG, max_data_bytes=data, max_request_bytes=request_mb * _MB, max_record_bytes=record_mb * _MB)


PLANS = {
    "free": replace(_PAYG, max_data_bytes=256 * _MB, max_commands=500_000),
    "payg": _PAYG,
    "fixed-250mb": _fixed(250 * _MB, 10, 100),
    "fixed-1gb": _fixed(_GB, 10, 200),
    "fixed-5gb": _fixed(5 * _GB, 20, 300),
    "fixed-10gb": _fixed(10 * _GB, 30, 400),
    "fixed-50gb": _fixed(50 * _GB, 50, 500),
    "fixed-100gb": _fixed(100 * _GB, 75, 1024),
    "fixed-500gb": _fixed(500 * _GB, 100, 5120),
    "unlimited": Limits(None, None, None, None, None),
}


def limits_of(plan: str, **overrides: int | None) -> Limits:
    """Return a plan's limits, with some replaced.

    Args:
        plan: One of `PLANS`.
        overrides: Fields of `Limits`; 0 and None mean no limit.

    Raises:
        ValueError: An unknown plan, or an invalid limit.
    """
    if plan not in PLANS:
        raise ValueError(f"unknown plan {plan!r}: choose one of {', '.join(PLANS)}")
    return replace(PLANS[plan], **{name: value or None for name, value in overrides.items()})


def too_large(what: str, limit: int, actual: int) -> str:
    """Return the error of a `request`, a `single record` or a `key` that is too large; sizes in bytes."""
    return f"ERR max {what} size exceeded. Limit: {limit} bytes, Actual: {actual} bytes. {_SEE}"


def data_too_large(limit: int, usage: int) -> str:
    """Return the error of a write to a database that is full."""
    return f"ERR DB capacity quota exceeded. Threshold: {limit} bytes, Usage: {usage} bytes. {_SEE}"


def too_many_commands(limit: int, usage: int) -> str:
    """Return the error of a command beyond the quota."""
    return f"ERR max requests limit exceeded. Limit: {limit}, Usage: {usage}. {_SEE}"
