"""What a database may hold and be asked, by plan, and the errors that say so. Pure.

https://upstash.com/docs/redis/overall/billing and https://upstash.com/pricing/redis, read in November 2026; the texts:
https://upstash.com/docs/redis/troubleshooting.
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
        max_request_bytes: One command, and the reply to one command, in bytes.
        max_record_bytes: One key with all it holds, in bytes.
        max_key_bytes: The name of a key, in bytes.
        max_data_bytes: All data together, in bytes. Once reached, commands that may add to it are refused.
        max_commands: Billed commands; Upstash counts them by the month, the local server since it started.
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
    """Return a plan's limits, some of them replaced.

    Args:
        plan: One of `PLANS`.
        overrides: Limits by their name in `Limits`; 0 and None are no limit.

    Raises:
        ValueError: There is no such plan, or a limit is none.
    """
    if plan not in PLANS:
        raise ValueError(f"there is no plan {plan!r}: choose one of {', '.join(PLANS)}")
    return replace(PLANS[plan], **{name: value or None for name, value in overrides.items()})


def request_too_large(limit: int, actual: int) -> str:
    """Return the error of a command or reply over the request size."""
    return f"ERR max request size exceeded. Limit: {limit} bytes, Actual: {actual} bytes. {_SEE}"


def record_too_large(limit: int, actual: int) -> str:
    """Return the error of a write that would make a record too large."""
    return f"ERR max single record size exceeded. Limit: {limit} bytes, Actual: {actual} bytes. {_SEE}"


def key_too_large(limit: int, actual: int) -> str:
    """Return the error of a key whose name is too long."""
    return f"ERR max key size exceeded. Limit: {limit} bytes, Actual: {actual} bytes. {_SEE}"


def data_too_large(limit: int, usage: int) -> str:
    """Return the error of a write to a database that is full."""
    return f"ERR DB capacity quota exceeded. Threshold: {limit} bytes, Usage: {usage} bytes. {_SEE}"


def too_many_commands(limit: int, usage: int) -> str:
    """Return the error of a database whose commands are used up."""
    return f"ERR max requests limit exceeded. Limit: {limit}, Usage: {usage}. {_SEE}"
