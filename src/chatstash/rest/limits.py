"""How long an operation may take, and what is tried again, how often and after how long. Pure.

The policy, for all operations:

========================  ==========================================================================================
class of operation        what is done where a request failed in a way that passes by itself
========================  ==========================================================================================
read                      sent again as it is
idempotent write          sent again as it is: what it changes is the same after the second time
append                    sent again as it is where it certainly was not applied; where that is not known, its
                          settlement is sent in its place, which appends only what is not there already
========================  ==========================================================================================

What passes by itself is a failed connection, a wait that was too long, a status of 5xx, 429, and a reply that is cut
off or mangled. How often and for how long:

========================  ==========================================================================================
bound                     what it says
========================  ==========================================================================================
time                      a retry begins within 80 % of `timeout`; the rest is left for its reply
`retries`                 how many retries there are at most; None, the default, for as many as the time permits
lasting failures          3 retries at most for what is likely to fail again: a host name that does not exist, a
                          certificate that is not accepted, a reply that is not HTTP or not of the REST API
pauses                    between retries, random from 0 to a bound that doubles from 0.1 to 3 seconds
                          (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and at least
                          what the server asked for with Retry-After
silence                   an attempt that hears nothing for half of the time left is given up, so that there is time
                          for another; one that no other can follow may use all of it
========================  ==========================================================================================
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from chatstash.errors import (
    Applied,
    ConnectionFailed,
    DatabaseError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    ServerError,
)
from chatstash.rest.commands import Effect

DEFAULT_TIMEOUT = 30.0
RETRIES_OF_LASTING = 3
DEFAULT_MAX_CONNECTIONS = 256
MOST_CONNECTIONS = 65_535
MAX_TIMEOUT = 10**6


def _random() -> float:
    # random.random itself is pickled with its state: all who unpickle would pause for the same times.
    return random.random()  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Budget:
    """How long one operation may take, and how often its requests are sent again.

    Args:
        timeout: Seconds for the whole operation, pauses and retries included.
        retries: How often a request is sent again at most; None for as often as 80 % of the time permits.
        first_pause: Upper bound of the first pause, in seconds; it doubles with each.
        longest_pause: Upper bound of any pause, in seconds, but for what the server asks for.
        jitter: Gives a random number from 0 to 1.

    Raises:
        ValueError: One of them cannot be right.
    """

    timeout: float = DEFAULT_TIMEOUT
    retries: int | None = None
    first_pause: float = 0.1
    longest_pause: float = 3.0
    jitter: Callable[[], float] = _random

    def __post_init__(self) -> None:
        object.__setattr__(self, "timeout", checked_timeout(self.timeout))
        if self.retries is not None:
            checked_retries(self.retries)
        if not callable(self.jitter):
            raise ValueError(f"jitter must be a function that gives a number from 0 to 1, not {self.jitter!r}")
        for name in ("first_pause", "longest_pause"):
            if not is_number(getattr(self, name)) or not 0 <= getattr(self, name) <= MAX_TIMEOUT:
                raise ValueError(f"{name} must be a number of seconds from 0 to {MAX_TIMEOUT}")

    def is_last(self, attempt: int) -> bool:
        """Tell whether no retry may follow, where it was tried again so many times already."""
        return self.retries is not None and attempt >= self.retries

    def pause_after(self, attempt: int, error: DatabaseError, effect: Effect) -> float | None:
        """Return how many seconds to wait before trying again, or None where it is not to be tried again.

        Args:
            attempt: How often it was tried again already.
            error: What went wrong.
            effect: What that which would be sent does, and so whether it may be sent twice.
        """
        certain = error.applied is Applied.NO or effect is not Effect.WRITE
        if self.is_last(attempt) or not certain or attempt >= _most_retries(error):
            return None
        # The exponent is bounded: 2**1024 does not fit a float.
        bound = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 30))
        return max(self.jitter() * bound, error.retry_after or 0.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The budget of each class of operation; the table at the head of this module says what is tried again.

    Args:
        read: Of reads.
        idempotent: Of writes that may be repeated: clearing, settling, repairing.
        append: Of appends.

    Raises:
        ValueError: One of them is no Budget.
    """

    read: Budget = field(default_factory=Budget)
    idempotent: Budget = field(default_factory=Budget)
    append: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        for name in ("read", "idempotent", "append"):
            if not isinstance(getattr(self, name), Budget):
                raise ValueError(f"{name} must be a Budget, not {getattr(self, name)!r}")


def _most_retries(error: DatabaseError) -> float:
    is_mangled = isinstance(error, ProtocolError) and error.applied is Applied.UNKNOWN
    if not is_mangled and not isinstance(error, (ConnectionFailed, RequestTimeout, ServerError, RateLimited)):
        return 0
    lasts = error.lasting or (is_mangled and not isinstance(error, ServerError))
    return RETRIES_OF_LASTING if lasts else math.inf


def is_number(value: object) -> bool:
    """Tell whether a value is a number, which True is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_timeout(timeout: float) -> float:
    """Return `timeout`, in seconds, or raise ValueError where it is not a positive number up to 10^6."""
    if not is_number(timeout) or not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout must be a positive number of seconds, at most {MAX_TIMEOUT}")
    return float(timeout)


def checked_max_connections(count: int) -> int:
    """Return how many connections an event loop may have open, or raise ValueError where it is no such number."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_CONNECTIONS:
        raise ValueError(f"max_connections must be a whole number from 1 to {MOST_CONNECTIONS}, not {count!r}")
    return count


def checked_retries(retries: int) -> int:
    """Return `retries`, or raise ValueError where it is not a whole number from 0 on."""
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise ValueError(f"retries must be a whole number, 0 or more, not {retries!r}")
    return retries
