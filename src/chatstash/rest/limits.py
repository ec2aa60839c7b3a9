"""Time limits and the retry policy. Pure.

========================  ==========================================================================================
operation                 after a failure that may pass
========================  ==========================================================================================
read                      retried as it is
idempotent write          retried as it is: sending it twice has the same result
append                    retried as it is if it certainly was not applied; if that is unknown, its settlement is sent
                          instead, which appends only what is missing
========================  ==========================================================================================

Failures that may pass: a failed connection, a timeout, a status of 5xx or 429, and a truncated or garbled reply. The
limits:

========================  ==========================================================================================
limit                     rule
========================  ==========================================================================================
time                      a retry starts within 80 % of `timeout`; the rest is left for its reply
`retries`                 the maximum number of retries; None, the default, for as many as the time permits
lasting failures          at most 3 retries for failures that will probably recur: an unknown host name, a rejected
                          certificate, a reply that is not HTTP or does not follow the REST API
pauses                    random, from 0 to a bound that doubles from 0.1 to 3 seconds
                          (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and at least as
                          long as the server asks for with Retry-After
silence                   an attempt ends when the server is silent for half of the time left, which leaves time for
                          another; the last possible attempt may use all of it
========================  ==========================================================================================
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import field

from chatstash import errors
from chatstash.frozen import dataclass
from chatstash.rest.commands import Effect

_MAY_PASS = (errors.ConnectionFailed, errors.RequestTimeout, errors.ServerError, errors.RateLimited)

DEFAULT_TIMEOUT = 30.0
MAX_LASTING_RETRIES = 3
DEFAULT_MAX_CONNECTIONS = 256
MAX_TIMEOUT = 10**6


def _random() -> float:
    """Return a number from 0 to 1. Unlike `random.random`, it has no state that a pickled policy would repeat."""
    return int.from_bytes(os.urandom(4)) / 2**32


@dataclass(frozen=True)
class Budget:
    """The time limit of one operation, and the retries of its requests.

    Args:
        timeout: Seconds for the whole operation, including pauses and retries.
        retries: Maximum number of retries of a request; None for as many as 80 % of the time permits.
        first_pause: Upper bound of the first pause, in seconds; it doubles with each retry.
        longest_pause: Upper bound of all pauses, in seconds, unless the server asks for a longer one.
        jitter: Returns a random number from 0 to 1.

    Raises:
        ValueError: An argument is invalid.
    """

    timeout: float = DEFAULT_TIMEOUT
    retries: int | None = None
    first_pause: float = 0.1
    longest_pause: float = 3.0
    jitter: Callable[[], float] = _random

    def __post_init__(self) -> None:
        if not is_number(self.timeout) or not 0 < self.timeout <= MAX_TIMEOUT:
            raise ValueError(f"timeout must be a positive number of seconds, at most {MAX_TIMEOUT}")
        object.__setattr__(self, "timeout", float(self.timeout))
        if self.retries is not None and not _is_whole(self.retries, 0, math.inf):
            raise ValueError(f"retries must be a whole number, 0 or more, not {self.retries!r}")
        if not callable(self.jitter):
            raise ValueError(f"jitter must be a function that returns a number from 0 to 1, not {self.jitter!r}")
        for name in ("first_pause", "longest_pause"):
            if not is_number(getattr(self, name)) or not 0 <= getattr(self, name) <= MAX_TIMEOUT:
                raise ValueError(f"{name} must be a number of seconds from 0 to {MAX_TIMEOUT}")

    def is_last(self, attempt: int) -> bool:
        """Tell whether no retry may follow after `attempt` retries."""
        return self.retries is not None and attempt >= self.retries

    def pause_after(self, attempt: int, error: errors.DatabaseError, effect: Effect) -> float | None:
        """Return how many seconds to wait before a retry, or None for no retry, after `attempt` retries."""
        certain = error.applied is errors.Applied.NO or effect is not Effect.WRITE
        if self.is_last(attempt) or not certain or attempt >= _max_retries(error):
            return None
        # The exponent is bounded: 2**1024 does not fit a float.
        bound = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 30))
        return max(self.jitter() * bound, error.retry_after or 0.0)


@dataclass(frozen=True)
class RetryPolicy:
    """The budget of each kind of operation.

    Args:
        read: For reads.
        idempotent: For writes that may be repeated: clear, check_outcome and repairs.
        append: For appends.

    Raises:
        ValueError: An argument is not a Budget.
    """

    read: Budget = field(default_factory=Budget)
    idempotent: Budget = field(default_factory=Budget)
    append: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        for name in ("read", "idempotent", "append"):
            if not isinstance(getattr(self, name), Budget):
                raise ValueError(f"{name} must be a Budget, not {getattr(self, name)!r}")


def _max_retries(error: errors.DatabaseError) -> float:
    is_garbled = isinstance(error, errors.ProtocolError) and error.applied is errors.Applied.UNKNOWN
    if not is_garbled and not isinstance(error, _MAY_PASS):
        return 0
    lasts = error.lasting or (is_garbled and not isinstance(error, errors.ServerError))
    return MAX_LASTING_RETRIES if lasts else math.inf


def is_number(value: object) -> bool:
    """Tell whether a value is an int or a float; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_max_connections(count: int) -> int:
    """Return `max_connections`; raises ValueError unless it is a whole number from 1 to 65535."""
    if not _is_whole(count, 1, 65_535):
        raise ValueError(f"max_connections must be a whole number from 1 to 65535, not {count!r}")
    return count


def _is_whole(value: object, least: int, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
