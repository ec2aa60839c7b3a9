"""The requests of a conversation: a list command with its expiry, or a script."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from chatstash.errors import Applied, DatabaseError, OutcomeUnknown, WrongType
from chatstash.history.scripts.loading import APPEND_COUNT_INDEX, COUNT_INDEX
from chatstash.history.steps.replies import checked_reply
from chatstash.rest.commands import Batch, Command, Effect, Replies, Reply
from chatstash.rest.ops import Op, send


class Along(NamedTuple):
    """Commands that go along with an append, in the same step. If one fails, the records are stored all the same.

    Attributes:
        commands: The commands.
        undoing: The commands that undo them, for an append that is refused.
    """

    commands: tuple[Command, ...] = ()
    undoing: tuple[Command, ...] = ()


NOTHING_ALONG = Along()


def list_command(
    key: str,
    command: Command,
    ttl: int | None,
    effect: Effect,
    *,
    settlement: Callable[[], Command] | None = None,
    more: tuple[Command, ...] = (),
    along: Along = NOTHING_ALONG,
    atomic: bool = False,
) -> Op[Replies]:
    """Run a list command, followed by EXPIRE where there is a ttl.

    In a transaction as in a pipeline, EXPIRE takes effect even where the command before it fails. `lists_only` lets
    that happen only where the key was lately seen to be a list. If the key holds another type after all, the expiry is
    removed again, and so is what went along.
    """
    expire: tuple[Command, ...] = () if ttl is None else (("EXPIRE", key, ttl),)
    commands = (command, *more, *along.commands, *expire)
    settling = None if settlement is None else partial(_settling, settlement, APPEND_COUNT_INDEX)
    try:
        replies = yield from send(Batch(commands, atomic or effect is Effect.WRITE, effect, settling))
    except WrongType as error:
        maybe_set = ttl is not None and error.applied is Applied.UNKNOWN
        raise (yield from _list_command_failed(key, error, along, expiry_set=maybe_set)) from error.__cause__
    if replies.settled:
        return replies
    first, expiry = replies.values[0], list(replies.values[len(commands) - len(expire) :])
    if isinstance(first, DatabaseError):
        raise (yield from _list_command_failed(key, first, along, expiry_set=expiry == [1]))
    if expiry and isinstance(expiry[0], DatabaseError):
        raise expiry_refused(key, expiry[0], effect)
    for reply in replies.values[1 : 1 + len(more)]:
        if isinstance(reply, DatabaseError):
            raise reply
    return replies


def run_script(
    key: str,
    script: Command,
    effect: Effect,
    settlement: Callable[[], Command] | None = None,
    *,
    count_index: int = COUNT_INDEX,
) -> Op[list[Reply]]:
    """Run a script that answers a list, and return the list."""
    settling = None if settlement is None else partial(_settling, settlement, count_index)
    batch = Batch((script,), effect=effect, settlement=settling, command_count_index=count_index)
    try:
        replies = yield from send(batch)
    except WrongType as error:
        raise wrong_type(key, _UNTOUCHED, error) from error.__cause__
    return checked_reply(list, replies.values[0], effect)


def run_marked_script(key: str, marker: str, script: Command) -> Op[list[Reply]]:
    """Run a script that its marker makes run once, so that it settles itself if its reply is lost.

    An OutcomeUnknown names the marker, for `check_outcome`.
    """
    try:
        return (yield from run_script(key, script, Effect.WRITE, lambda: script))
    except OutcomeUnknown as error:
        error.key, error.marker = key, marker
        raise


def _settling(settlement: Callable[[], Command], count_index: int) -> Batch:
    return Batch((settlement(),), effect=Effect.IDEMPOTENT, command_count_index=count_index)


def _list_command_failed(key: str, error: DatabaseError, along: Along, *, expiry_set: bool) -> Op[DatabaseError]:
    """Return the error for a list command that failed, after undoing what the same request did."""
    error.applied = Applied.PARTIALLY if expiry_set else Applied.NO
    if not isinstance(error, WrongType):
        return error
    undoing = (*((("PERSIST", key),) if expiry_set else ()), *along.undoing)
    if not undoing:
        return wrong_type(key, _UNTOUCHED, error)
    try:
        yield from send(Batch(undoing, effect=Effect.IDEMPOTENT))
    except DatabaseError as undo_error:
        if not expiry_set:
            return wrong_type(key, _UNTOUCHED, error)
        return wrong_type(key, f"{_EXPIRES_NOW} ({type(undo_error).__name__})", error)
    return wrong_type(key, _EXPIRY_REMOVED if expiry_set else _UNTOUCHED, error)


_UNTOUCHED = "It was left as it was"
_EXPIRY_REMOVED = (
    "Its value was left as it was. The same request set an expiry on it, which was removed again with PERSIST. If the "
    "key had an expiry before, that is gone too: set it again"
)
_EXPIRES_NOW = (
    "Its value was left as it was, but the same request set an expiry on it, and removing that failed: "
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
    """Return the error for a list command that was applied without the expiry it should have set."""
    done = "The messages were stored" if effect is Effect.WRITE else "The messages could be read"
    error.problem = f"{done}, but the expiry of key {key!r} could not be set. {error.problem}"
    error.applied = Applied.PARTIALLY
    return error
