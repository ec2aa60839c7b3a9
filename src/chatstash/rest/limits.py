"""How long an operation may take, and what is tried again, how often and after how long. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from chatstash.errors import Applied, ConnectionFailed, DatabaseError, RateLimited, RequestTimeout, ServerError
from chatstash.rest.commands import Effect

DEFAULT_TIMEOUT = 30.0
DEFAULT_RETRIES = 3
MAX_TIMEOUT = 10**6


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which failures are tried again, how often and after how long.

    Tried again is what passes by itself (no connection, a timeout, 5xx, 429), and of that, a write only where it
    certainly was not applied. The pauses grow exponentially with full jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and are at least what the server
    asked for with Retry-After.

    Attributes:
        retries: How often a batch is sent again at most.
        first_pause: Upper bound of the first pause, in seconds; it doubles with each.
        longest_pause: Upper bound of any pause, in seconds.
        jitter: Gives a random number from 0 to 1.
    """

    retries: int = DEFAULT_RETRIES
    first_pause: float = 0.1
    longest_pause: float = 2.0
    jitter: Callable[[], float] = random.random

    def pause_after(self, attempt: int, error: DatabaseError, effect: Effect) -> float | None:
        """Return how many seconds to wait before trying again, or None where it is not to be tried again.

        Args:
            attempt: How often it was tried again already.
            error: What went wrong.
            effect: What the batch does, and so whether it may be sent twice.
        """
        certain = error.applied is Applied.NO or effect is not Effect.WRITE
        if attempt >= self.retries or not certain or not _passes_by_itself(error):
            return None
        # The exponent is bounded: 2**1024 does not fit a float.
        bound = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 30))
        return max(self.jitter() * bound, error.retry_after or 0.0)


def _passes_by_itself(error: DatabaseError) -> bool:
    return isinstance(error, (ConnectionFailed, RequestTimeout, ServerError, RateLimited))


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an operation may take and how often its batches are sent again.

    Attributes:
        timeout: Seconds for the whole operation, pauses and retries included.
        policy: What is tried again.
    """

    timeout: float = DEFAULT_TIMEOUT
    policy: RetryPolicy = field(default_factory=RetryPolicy)


def checked_timeout(timeout: float) -> float:
    """Return `timeout`, in seconds, or raise ValueError where it is not a positive number up to 10^6."""
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout must be a positive number of seconds, at most {MAX_TIMEOUT}")
    return float(timeout)


def checked_retries(retries: int) -> int:
    """Return `retries`, or raise ValueError where it is not a whole number from 0 on."""
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise ValueError(f"retries must be a whole number, 0 or more, not {retries!r}")
    return retries
