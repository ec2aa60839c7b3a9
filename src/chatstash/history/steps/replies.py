"""Checks the replies of the database, and turns unexpected ones into errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from chatstash.errors import Applied, CommandRejected, OutcomeUnknown, OutcomeUnknownAfterBadReply, ProtocolError
from chatstash.rest.commands import Effect, Reply

ReplyT = TypeVar("ReplyT", bytes, int, list)  # type: ignore[type-arg]

# Only the code is shown: further words of a server may not be fit for an error.
_CODES = {b"NOPERM", b"OOM", b"READONLY", b"MISCONF"}


def checked_reply(kind: type[ReplyT], reply: Reply, effect: Effect) -> ReplyT:
    """Return a reply that must be of a type; raises `ProtocolError` or, for a write, `OutcomeUnknown`."""
    if isinstance(reply, kind):
        return reply
    problem = f"The database answered with {type(reply).__name__} instead of {kind.__name__}"
    raise unexpected_reply(problem) if effect is Effect.WRITE else ProtocolError(problem)


def checked_counts(replies: Sequence[Reply], wanted: int, effect: Effect) -> list[int]:
    """Return the first `wanted` replies of a script, which must be numbers; raises as `checked_reply` does."""
    padded = [*replies, *[None] * wanted][:wanted]
    return [checked_reply(int, reply, effect) for reply in padded]


def unexpected_reply(problem: str) -> OutcomeUnknown:
    """Return the error for a write that got an impossible reply."""
    return OutcomeUnknownAfterBadReply(problem, applied=Applied.UNKNOWN)


def refused_within(name: str, text: bytes) -> CommandRejected:
    """Return the error for a command that was refused within a script, given its name and the error's text."""
    code = (text.split() or [b""])[0]
    return CommandRejected(f"The database refused {name}", server_text=code.decode() if code in _CODES else None)
