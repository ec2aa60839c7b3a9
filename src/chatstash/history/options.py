"""Validated options of a conversation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict, get_args

from chatstash.history.records.keys import MAX_TTL, checked_ttl
from chatstash.history.tool_calls.view import ToolCalls, checked_start_on, checked_tool_calls
from chatstash.rest.limits import RetryPolicy

OnCorrupt = Literal["raise", "skip", "placeholder"]
Delivery = Literal["standard", "strict"]

DEFAULT_MAX_REQUEST_BYTES = 10_000_000
"""What a request may have on the free and the pay-as-you-go plan, which is 10 MB:
https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded"""

DEFAULT_IDEMPOTENCY_TTL = 86_400

MOST_MESSAGES = 10**6

_LEAST_REQUEST_BYTES = 100_000
"""Below it there would be no room beside a key of 32 KB, whose quotes and control characters grow in JSON."""


class OptionChanges(TypedDict, total=False):
    """What `Store.session` takes to depart from the store's options; None keeps the store's."""

    ttl: int | None
    refresh_ttl_on_read: bool | None
    retry_policy: RetryPolicy | None
    timeout: float | None
    retries: int | None
    max_request_bytes: int | None
    idempotency_ttl: int | None
    on_corrupt: OnCorrupt | None
    read_last: int | None
    keep_system: bool | None
    max_stored_messages: int | None
    delivery: Delivery | None
    start_on: str | Sequence[str] | None
    tool_calls: ToolCalls | None


@dataclass(frozen=True, slots=True)
class Options:
    """Validated options of a conversation.

    Attributes:
        ttl: Seconds until the conversation expires, set anew at every append; None leaves the expiry as it is.
        refresh_ttl_on_read: Whether reading sets it anew too.
        retry_policy: How long each class of operation may take and how often it is tried.
        max_request_bytes: What a request may have; larger appends are staged, larger reads come in pages.
        idempotency_ttl: Seconds for which an idempotency key is remembered.
        on_corrupt: What reading does with a record that cannot be read.
        read_last: How many of the newest messages reading gives, at most; None for all.
        keep_system: Whether such a window has the conversation's first message as well, where it is a system message.
        max_stored_messages: How many messages are kept; appending trims the oldest in the same step. None for all.
        delivery: `strict` if every append carries a marker, so that its request does nothing if it arrives late.
        start_on: Types of the first message that reading returns, after a kept system message, such as `human`; empty
            for any.
        tool_calls: How reading returns tool calls and results: `stored`, as they are; `paired`, each call with its
            result, except calls at the end, whose tools may still be running; or `answered`, those too. None for
            `paired` in windows, and `stored` in whole conversations and pages.

    Raises:
        ValueError: One of them cannot be right.
    """

    ttl: int | None = None
    refresh_ttl_on_read: bool = False
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES
    idempotency_ttl: int = DEFAULT_IDEMPOTENCY_TTL
    on_corrupt: OnCorrupt = "raise"
    read_last: int | None = None
    keep_system: bool = False
    max_stored_messages: int | None = None
    delivery: Delivery = "standard"
    start_on: str | Sequence[str] = ()
    tool_calls: ToolCalls | None = None

    def __post_init__(self) -> None:
        checked_ttl(self.ttl)
        self._check_bounds()
        object.__setattr__(self, "start_on", checked_start_on(self.start_on))
        if self.tool_calls is not None:
            checked_tool_calls(self.tool_calls)
        for name in ("refresh_ttl_on_read", "keep_system"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if not isinstance(self.retry_policy, RetryPolicy):
            raise ValueError(f"retry_policy must be a RetryPolicy, not {self.retry_policy!r}")
        check_whole("max_request_bytes", self.max_request_bytes, _LEAST_REQUEST_BYTES, 2**40)
        check_whole("idempotency_ttl", self.idempotency_ttl, 1, MAX_TTL)
        for name, allowed in (("on_corrupt", get_args(OnCorrupt)), ("delivery", get_args(Delivery))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")

    def _check_bounds(self) -> None:
        for name in ("read_last", "max_stored_messages"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1, MOST_MESSAGES)

    @property
    def is_strict(self) -> bool:
        """Whether appends carry a marker. A late request would trim what it must not, so bounded storage needs it."""
        return self.delivery == "strict" or self.max_stored_messages is not None

    @property
    def most_read(self) -> int | None:
        """How many of the newest messages reading gives, at most; None for all.

        A conversation whose storage is bounded is read as a window: it may begin in the middle of a turn as well.
        """
        return self.read_last or self.max_stored_messages

    @property
    def ttl_on_read(self) -> int | None:
        """Seconds until the conversation expires, set anew at every read; None leaves the expiry as it is."""
        return self.ttl if self.refresh_ttl_on_read else None

    def changed(self, changes: OptionChanges) -> Options:
        """Return these options with some changed; None keeps what is. `timeout` and `retries` are for all operations.

        Raises:
            TypeError: There is no such option.
            ValueError: One of them cannot be right.
        """
        if unknown := sorted(set(changes) - set(OptionChanges.__annotations__)):
            known = ", ".join(OptionChanges.__annotations__)
            raise TypeError(f"a conversation has no option {unknown[0]!r}; its options are {known}")
        given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        if not given:
            return self
        budget = {name: given.pop(name) for name in ("timeout", "retries") if name in given}
        if budget:
            policy = given.get("retry_policy", self.retry_policy)
            given["retry_policy"] = RetryPolicy(
                *(replace(part, **budget) for part in (policy.read, policy.idempotent, policy.append))
            )
        return replace(self, **given)


def check_whole(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number, or raise ValueError where it is none, or not between the bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
    return value
