"""Append, read and clear, as operations: each workflow once, for sync and async, with no I/O of its own.

A conversation is a Redis list, newest record first. One append is one atomic request, so there is no moment at which
a turn is half stored or a key lacks its expiry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from chatstash.errors import Applied, DatabaseError, ProtocolError, WrongType
from chatstash.history.records import RecordId, decode
from chatstash.history.results import AppendResult, ClearResult, ReadResult
from chatstash.rest.commands import Batch, Command, CommandFailure, Replies, Reply
from chatstash.rest.ops import Op, send
from chatstash.rest.protocol import error_of

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
    """
    push: Command = ("LPUSH", key, *records)
    replies = yield from _on_list(key, push, ttl, writes=True)
    return AppendResult(_expect(int, replies.values[0]), rids, replies.cost)


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
    replies = yield from _on_list(key, ("LRANGE", key, 0, -1), refresh_ttl, writes=False)
    stored = reversed(_expect(list, replies.values[0]))
    records = [decode(_expect(bytes, raw), key=key, position=position) for position, raw in enumerate(stored)]
    return ReadResult(records, cursor=None, omitted=0, cost=replies.cost)


def clear(key: str) -> Op[ClearResult]:
    """Delete a conversation; one request, one command. Does not look at what the key holds."""
    replies = yield from send(Batch((("DEL", key),), writes=True))
    return ClearResult(_expect(int, replies.values[0]) > 0, replies.cost)


def _on_list(key: str, command: Command, ttl: int | None, *, writes: bool) -> Op[Replies]:
    """Run a list command, with EXPIRE beside it where there is a ttl.

    In a transaction as in a pipeline, EXPIRE takes effect even where the command beside it fails: where the key turns
    out to hold something else, what was set is put right.
    """
    commands = (command,) if ttl is None else (command, ("EXPIRE", key, ttl))
    batch = Batch(commands, atomic=writes, writes=writes)
    try:
        replies = yield from send(batch)
    except WrongType as error:
        raise _wrong_type(key, _UNTOUCHED, error) from error.__cause__
    failures = [value for value in replies.values if isinstance(value, CommandFailure)]
    if failures:
        raise (yield from _failure(key, batch, replies, failures[0]))
    return replies


def _failure(key: str, batch: Batch, replies: Replies, failure: CommandFailure) -> Op[DatabaseError]:
    """Return the error for a command that failed beside others, after putting right what those did."""
    error = error_of(failure.text, 200, batch)
    if len(replies.values) == 1 or all(isinstance(value, CommandFailure) for value in replies.values):
        return error
    error.applied = Applied.PARTLY
    if not isinstance(error, WrongType):
        return error
    try:
        yield from send(Batch((("PERSIST", key),), writes=True))
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


def _expect(kind: type[ReplyT], reply: Reply) -> ReplyT:
    if not isinstance(reply, kind):
        raise ProtocolError(f"The database answered with {type(reply).__name__} where {kind.__name__} was due")
    return reply
