"""Validated options of a conversation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from functools import cache
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, cast, get_args

from chatstash.frozen import dataclass
from chatstash.history.tool_calls.view import ToolCalls, checked_start_on, checked_tool_calls
from chatstash.rest.limits import RetryPolicy
from chatstash.rest.plan import DEFAULT_MAX_REQUEST_BYTES, MAX_TTL, checked_ttl

F = TypeVar("F", bound=Callable[..., Any])

OnCorrupt = Literal["raise", "skip", "placeholder"]
Delivery = Literal["standard", "strict"]
StartOn: TypeAlias = str | type[Any] | Sequence[str | type[Any]]
"""Types of messages, by name or, for LangChain's class, by message class, as `trim_messages` takes them."""

DEFAULT_IDEMPOTENCY_TTL = 86_400

MOST_MESSAGES = 10**6

_LEAST_REQUEST_BYTES = 100_000
"""Leaves room for a key of 32 KB whose quotes and control characters grow in JSON."""


class OptionsWithoutTtl(TypedDict, total=False):
    """The keyword arguments of `ConversationOptions` without `ttl`."""

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
    start_on: StartOn | None
    tool_calls: ToolCalls | None


class ConversationOptions(OptionsWithoutTtl, total=False):
    """The options of a conversation as keyword arguments, each documented at `Options`; None keeps the default.

    A `Store` sets the defaults of its conversations. `timeout` and `retries` set the same budget for all operations,
    and take precedence over `retry_policy`.
    """

    ttl: int | None


@dataclass(frozen=True)
class Options:
    """Validated options of a conversation.

    Attributes:
        ttl: Seconds until the conversation expires, 1 to 10^9; every append restarts it. None leaves the expiry
            unchanged.
        refresh_ttl_on_read: Whether reading restarts the ttl too, in the same request.
        retry_policy: How long each class of operation may take, in seconds, and how often it is retried. As keyword
            arguments, `timeout` and `retries` set both for all classes: `timeout` is the total of an operation in
            seconds, retries included, 30 by default; connecting may take 5 of it. `retries` is a maximum; 0 means one
            attempt, and by default as many are made as fit into 80 % of `timeout`. An append that may have been
            applied is never sent again as it was: a conditional append settles it.
        max_request_bytes: Maximum size of a request or reply, in bytes. Larger appends are staged in parts; larger
            reads take several requests.
        idempotency_ttl: Seconds for which an idempotency key is remembered.
        on_corrupt: How a read treats a record that cannot be read: `raise` an error that has all the others, `skip`
            it, or return a `placeholder` message for it. The last two log a warning.
        read_last: Reads return at most this many of the newest messages; None for all.
        keep_system: Whether a read of the newest messages also returns the conversation's first message, if that is a
            system message.
        max_stored_messages: Appends trim the oldest messages beyond this many, in the same step, together with the
            results of trimmed tool calls; None keeps all.
        delivery: `standard`, or `strict`: every append carries a marker, so that a request that arrives late does
            nothing. Costs two more commands an append.
        start_on: Type of the first message a read returns, after a kept system message, such as `human`, or several
            types. LangChain's class takes message classes too. Older messages are left out. Empty for any type.
        tool_calls: How a read returns tool calls and results: `stored`, unchanged; `paired`, each call followed by
            its result, except calls at the end, whose tools may still be running; or `answered`, those too. None
            means `paired` for the newest messages, and `stored` for whole conversations and pages.

    Raises:
        ValueError: An option is invalid.
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
    start_on: StartOn = ()
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
        checked_whole("max_request_bytes", self.max_request_bytes, _LEAST_REQUEST_BYTES, 2**40)
        checked_whole("idempotency_ttl", self.idempotency_ttl, 1, MAX_TTL)
        for name, allowed in (("on_corrupt", get_args(OnCorrupt)), ("delivery", get_args(Delivery))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")

    def _check_bounds(self) -> None:
        for name in ("read_last", "max_stored_messages"):
            if getattr(self, name) is not None:
                checked_whole(name, getattr(self, name), 1, MOST_MESSAGES)

    @property
    def is_strict(self) -> bool:
        """Whether appends carry a marker. Bounded storage needs it: a late request would trim newer messages."""
        return self.delivery == "strict" or self.max_stored_messages is not None

    @property
    def read_limit(self) -> int | None:
        """How many of the newest messages a read returns, at most; None for all.

        A conversation with bounded storage is read as a window, because it too may begin in the middle of a turn.
        """
        return self.read_last or self.max_stored_messages

    @property
    def ttl_on_read(self) -> int | None:
        """Seconds until the conversation expires after a read; None leaves the expiry unchanged."""
        return self.ttl if self.refresh_ttl_on_read else None

    def changed(self, changes: ConversationOptions) -> Options:
        """Return these options with the given changes; None keeps the present value.

        Raises:
            TypeError: An option does not exist.
            ValueError: An option is invalid.
        """
        check_keywords(changes, ConversationOptions.__annotations__, "a conversation")
        given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        budget = {name: given.pop(name) for name in ("timeout", "retries") if name in given}
        if budget:
            policy = given.get("retry_policy", self.retry_policy)
            given["retry_policy"] = RetryPolicy(
                *(replace(part, **budget) for part in (policy.read, policy.idempotent, policy.append))
            )
        return replace(self, **given) if given else self


def checked_whole(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number; raise ValueError if it is not one, or not between the bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
    return value


def check_keywords(given: Mapping[str, Any], allowed: Collection[str], owner: str) -> None:
    """Raise TypeError if a keyword is not allowed; the error names the one that was probably meant.

    Empties `given` then: a misspelt `token=` must not show among the variables of a traceback.
    """
    if unknown := [name for name in given if name not in allowed]:
        cast("dict[str, Any]", given).clear()
        from difflib import get_close_matches  # noqa: PLC0415 - only for this error

        close = get_close_matches(unknown[0], allowed, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TypeError(f"{owner} has no option {unknown[0]!r}.{hint} Its options are {', '.join(allowed)}.")


@cache
def keywords_of(function: Callable[..., object]) -> list[str]:
    """Return the names of a function's parameters, as `help` shows them, without `self`."""
    return list(inspect.signature(function).parameters)[1:]


def shows_keywords(allowed: type) -> Callable[[F], F]:
    """Decorate a function of `**options: Unpack[allowed]`: `help` and `inspect.signature` list each keyword."""

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        *first, _ = signature.parameters.values()
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in _keywords(allowed).items()
        ]
        function.__signature__ = signature.replace(parameters=[*first, *more])  # type: ignore[attr-defined]
        return function

    return decorate


def _keywords(allowed: type) -> dict[str, str]:
    annotations: dict[str, Any] = allowed.__annotations__
    return {name: str(getattr(kind, "__forward_arg__", kind)) for name, kind in annotations.items()}
