"""Append, read and clear, as operations: each workflow once, for sync and async, with no I/O of its own.

A conversation is a Redis list, newest record first. One append is one atomic request, so there is no moment at which
a turn is half stored or a key lacks its expiry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from chatstash.errors import (
    Applied,
    DatabaseError,
    OutcomeUnknown,
    OutcomeUnknownAfterBadReply,
    ProtocolError,
    WrongType,
)
from chatstash.history.records import RecordId, decode
from chatstash.history.results import AppendResult, ClearResult, ReadResult
from chatstash.rest.commands import Batch, Command, Effect, Replies, Reply
from chatstash.rest.ops import Op, send

ReplyT = TypeVar("ReplyT", bytes, int, list)  # type: ignore[type-arg]


def append(key: str, records: Sequence[str], rids: list[RecordId], ttl: int | None) -> Op[AppendResult]:
    """Append records in their order, all or none; one request, one command, or two with a ttl.

    Args:
        key: The conversation's key.
        records: The records' stored form, oldest first; at least one.
        rids: Their ids.
        ttl: Seconds until the conversation expires, set anew in the same transaction; None leaves it as it is.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        OutcomeUnknown: The reply was lost; names key and ids.
    """
    push: Command = ("LPUSH", key, *records)
    try:
        replies = yield from _on_list(key, push, ttl, Effect.WRITE)
        return AppendResult(_expect(int, replies.values[0], Effect.WRITE), rids, replies.cost)
    except OutcomeUnknown as error:
        error.key, error.rids = key, tuple(rids)
        raise


def read(key: str, refresh_ttl: int | None = None) -> Op[ReadResult]:
    """Read a whole conversation, oldest record first; one request, one command, or two with `refresh_ttl`.

    Args:
        key: The conversation's key.
        refresh_ttl: Seconds until it expires, set anew in the same request; None leaves it as it is.

    Raises:
        CorruptRecord: A record cannot be read.
        UnsupportedRecord: A record is of a newer form.
        WrongType: The key holds something else, which was left as it was.
    """
    effect = Effect.READ if refresh_ttl is None else Effect.IDEMPOTENT
    replies = yield from _on_list(key, ("LRANGE", key, 0, -1), refresh_ttl, effect)
    stored = reversed(_expect(list, replies.values[0], effect))
    records = [decode(_expect(bytes, raw, effect), key=key, position=position) for position, raw in enumerate(stored)]
    return ReadResult(records, cursor=None, omitted=0, cost=replies.cost)


def clear(key: str) -> Op[ClearResult]:
    """Delete a conversation; one request, one command. Does not look at what the key holds.

    Raises:
        OutcomeUnknown: The reply was lost. It is not sent again by itself, for it could delete what others appended
            meanwhile.
    """
    try:
        replies = yield from send(Batch((("DEL", key),), effect=Effect.WRITE))
        return ClearResult(_expect(int, replies.values[0], Effect.WRITE) > 0, replies.cost)
    except OutcomeUnknown as error:
        error.key = key
        raise


def _on_list(key: str, command: Command, ttl: int | None, effect: Effect) -> Op[Replies]:
    """Run a list command, with EXPIRE beside it where there is a ttl.

    In a transaction as in a pipeline, EXPIRE takes effect even where the command beside it fails: where the key turns
    out to hold something else, what was set is put right.
    """
    commands = (command,) if ttl is None else (command, ("EXPIRE", key, ttl))
    try:
        replies = yield from send(Batch(commands, atomic=effect is Effect.WRITE, effect=effect))
    except WrongType as error:
        raise _wrong_type(key, _UNTOUCHED, error) from error.__cause__
    first, *expiry = replies.values
    if isinstance(first, DatabaseError):
        raise (yield from _list_command_failed(key, first, expiry_set=expiry == [1]))
    if expiry and isinstance(expiry[0], DatabaseError):
        raise _expiry_refused(key, expiry[0], effect)
    return replies


def _list_command_failed(key: str, error: DatabaseError, *, expiry_set: bool) -> Op[DatabaseError]:
    """Return the error for a list command that failed beside EXPIRE, after putting right what that did."""
    if expiry_set:
        error.applied = Applied.PARTLY
    if not isinstance(error, WrongType):
        return error
    if not expiry_set:
        return _wrong_type(key, _UNTOUCHED, error)
    try:
        yield from send(Batch((("PERSIST", key),), effect=Effect.IDEMPOTENT))
    except DatabaseError as persist_error:
        return _wrong_type(key, f"{_EXPIRES_NOW} ({type(persist_error).__name__})", error)
    return _wrong_type(key, _EXPIRY_TAKEN_OFF, error)


_UNTOUCHED = "It was left as it was"
_EXPIRY_TAKEN_OFF = (
    "Its value was left as it was. The expiry that the same request set on it was taken off again with PERSIST; if "
    "the key had an expiry of its own, that is gone too: set it anew"
)
_EXPIRES_NOW = (
    "Its value was left as it was, but the same request set an expiry on it, and taking that off failed: "
    "run PERSIST on the key, or it will expire"
)


def _wrong_type(key: str, note: str, error: WrongType) -> WrongType:
    named = WrongType(
        f"The key {key!r} holds a value that is not a list, so it is not a conversation. {note}",
        status=error.status,
        server_text=error.server_text,
        applied=error.applied,
    )
    named.key = key
    return named


def _expiry_refused(key: str, error: DatabaseError, effect: Effect) -> DatabaseError:
    done = "The messages were stored" if effect is Effect.WRITE else "The messages could be read"
    error.problem = f"{done}, but the expiry of key {key!r} could not be set. {error.problem}"
    error.applied = Applied.PARTLY
    return error


def _expect(kind: type[ReplyT], reply: Reply, effect: Effect) -> ReplyT:
    if isinstance(reply, kind):
        return reply
    problem = f"The database answered with {type(reply).__name__} where {kind.__name__} was due"
    if effect is Effect.WRITE:
        raise OutcomeUnknownAfterBadReply(problem, applied=Applied.UNKNOWN)
    raise ProtocolError(problem)
