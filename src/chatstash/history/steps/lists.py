"""One command on the list that a conversation is, with its expiry beside it; and what replies must be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from chatstash.errors import (
    Applied,
    CommandRejected,
    DatabaseError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    ProtocolError,
    WrongType,
)
from chatstash.history.scripts.appending import APPEND_RAN_AT, RAN_AT
from chatstash.rest.commands import Batch, Command, Effect, Replies, Reply
from chatstash.rest.ops import Op, send

ReplyT = TypeVar("ReplyT", bytes, int, list)  # type: ignore[type-arg]


def on_list(
    key: str,
    command: Command,
    ttl: int | None,
    effect: Effect,
    *,
    settlement: Command | None = None,
    more: tuple[Command, ...] = (),
    atomic: bool = False,
) -> Op[Replies]:
    """Run a list command, with EXPIRE beside it where there is a ttl.

    In a transaction as in a pipeline, EXPIRE takes effect even where the command beside it fails. `guarding_expiry`
    lets that happen only where the key was lately seen to be a list; where it turns out to hold something else all the
    same, what was set is put right.

    Args:
        key: The list's key.
        command: The command.
        ttl: Seconds until it expires, set anew; None leaves it as it is.
        effect: What sending both twice would do.
        settlement: What to send instead where it is not known whether they were applied.
        more: Further commands on the list; what refuses the first for its type refuses them.
        atomic: Whether nothing of others may come between them; always so where they write.
    """
    expire: tuple[Command, ...] = () if ttl is None else (("EXPIRE", key, ttl),)
    commands = (command, *more, *expire)
    settling = Batch((settlement,), effect=Effect.IDEMPOTENT, command_count_index=APPEND_RAN_AT) if settlement else None
    try:
        replies = yield from send(Batch(commands, atomic or effect is Effect.WRITE, effect, settling))
    except WrongType as error:
        maybe_set = ttl is not None and error.applied is Applied.UNKNOWN
        raise (yield from _list_command_failed(key, error, expiry_set=maybe_set)) from error.__cause__
    if replies.settled:
        return replies
    first, expiry = replies.values[0], list(replies.values[1 + len(more) :])
    if isinstance(first, DatabaseError):
        raise (yield from _list_command_failed(key, first, expiry_set=expiry == [1]))
    if expiry and isinstance(expiry[0], DatabaseError):
        raise expiry_refused(key, expiry[0], effect)
    for reply in replies.values[1 : 1 + len(more)]:
        if isinstance(reply, DatabaseError):
            raise _refused_beside(key, reply, effect)
    return replies


def run_script(
    key: str, script: Command, effect: Effect, settlement: Command | None = None, *, ran_at: int = RAN_AT
) -> Op[list[Reply]]:
    """Run a script that answers a list, and return that.

    Args:
        key: The conversation's key, for errors.
        script: The call.
        effect: What sending it twice would do.
        settlement: The call to send instead where it is not known whether the first was applied.
        ran_at: The place in the list at which the script says how many commands it ran.
    """
    settling = Batch((settlement,), effect=Effect.IDEMPOTENT, command_count_index=ran_at) if settlement else None
    batch = Batch((script,), effect=effect, settlement=settling, command_count_index=ran_at)
    try:
        replies = yield from send(batch)
    except WrongType as error:
        raise wrong_type(key, _UNTOUCHED, error) from error.__cause__
    return expect(list, replies.values[0], effect)


def _list_command_failed(key: str, error: DatabaseError, *, expiry_set: bool) -> Op[DatabaseError]:
    """Return the error for a list command that failed beside EXPIRE, after putting right what that did."""
    error.applied = Applied.PARTIALLY if expiry_set else Applied.NO
    if not isinstance(error, WrongType):
        return error
    if not expiry_set:
        return wrong_type(key, _UNTOUCHED, error)
    try:
        yield from send(Batch((("PERSIST", key),), effect=Effect.IDEMPOTENT))
    except DatabaseError as persist_error:
        return wrong_type(key, f"{_EXPIRES_NOW} ({type(persist_error).__name__})", error)
    return wrong_type(key, _EXPIRY_TAKEN_OFF, error)


_UNTOUCHED = "It was left as it was"
_EXPIRY_TAKEN_OFF = (
    "Its value was left as it was. The expiry that the same request set on it was taken off again with PERSIST; if "
    "the key had an expiry of its own, that is gone too: set it anew"
)
_EXPIRES_NOW = (
    "Its value was left as it was, but the same request set an expiry on it, and taking that off failed: "
    "run PERSIST on the key, or it will expire"
)


def wrong_type(key: str, note: str, error: WrongType) -> WrongType:
    """Return the error for a key that holds no list, with its name and a note on its expiry."""
    named = WrongType(
        f"The key {key!r} holds a value that is not a list, so it is not a conversation. {note}",
        status=error.status,
        server_text=error.server_text,
        applied=error.applied,
    )
    named.key = key
    return named


def expiry_refused(key: str, error: DatabaseError, effect: Effect) -> DatabaseError:
    """Return the error for a list command that was carried out without the expiry it should have set."""
    done = "The messages were stored" if effect is Effect.WRITE else "The messages could be read"
    error.problem = f"{done}, but the expiry of key {key!r} could not be set. {error.problem}"
    error.applied = Applied.PARTIALLY
    return error


def _refused_beside(key: str, error: DatabaseError, effect: Effect) -> DatabaseError:
    """Return the error for a command that was refused beside one that was carried out."""
    if effect is Effect.WRITE:
        error.problem = f"The messages were stored, but key {key!r} could not be trimmed. {error.problem}"
        error.applied = Applied.PARTIALLY
    return error


# Only the code is shown: further words of a server are not known to be fit for an error.
_CODES = {b"NOPERM", b"OOM", b"READONLY", b"MISCONF"}


def refused_within(name: str, text: bytes) -> CommandRejected:
    """Return the error for a command that was refused within a script, given its name and the error's text."""
    code = (text.split() or [b""])[0]
    return CommandRejected(f"The database refused {name}", server_text=code.decode() if code in _CODES else None)


def expect(kind: type[ReplyT], reply: Reply, effect: Effect) -> ReplyT:
    """Return a reply that must be of a kind; raises `ProtocolError` or, of a write, `OutcomeUnknown`."""
    if isinstance(reply, kind):
        return reply
    problem = f"The database answered with {type(reply).__name__} where {kind.__name__} was due"
    raise not_understood(problem) if effect is Effect.WRITE else ProtocolError(problem)


def not_understood(problem: str) -> OutcomeUnknown:
    """Return the error for a write whose reply is none that it can have."""
    return OutcomeUnknownAfterBadReply(problem, applied=Applied.UNKNOWN)


def counts(replies: Sequence[Reply], wanted: int, effect: Effect) -> list[int]:
    """Return the first `wanted` replies of a script, which must be numbers; raises as `expect` does."""
    padded = [*replies, *[None] * wanted][:wanted]
    return [expect(int, reply, effect) for reply in padded]
