"""Editing a conversation: messages replaced and removed, alternatives, forks; for blocking callers and for asyncio.

The operations are loaded on first use: most processes only read and append.
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from chatstash.history.records.index import beginning
from chatstash.history.records.message_id import MessageId, named
from chatstash.history.records.record import Entry, Record
from chatstash.history.runner import Runner, Work
from chatstash.history.values.options import MOST_MESSAGES, checked_whole
from chatstash.history.values.results import Alternative, DraftText, EditResult
from chatstash.history.values.sessions import MoveResult
from chatstash.rest.ops import Op
from chatstash.rest.plan import utf8

if TYPE_CHECKING:
    from chatstash.history.operations.move import Move

ItemT = TypeVar("ItemT")
T = TypeVar("T")

Stored: TypeAlias = list[tuple[str, Sequence[Entry]]]
"""The name and the records of each alternative."""


class Editing(Generic[ItemT]):
    """The edits of one conversation; `Session` has them, and LangChain's history class.

    Each edit is one request and one atomic step, right beside concurrent appends, and made once even if replies are
    lost. It changes neither the expiry of the conversation nor its place among the sessions.

    A message is named by its record id (`records()` has the ids), by the `id` that the message itself has, or by its
    `Record`. Records of other libraries have no record id: pass the `Record`, which is found by its bytes.
    """

    @abstractmethod
    def _runner(self) -> Runner[ItemT]:
        """Return what runs operations of the conversation."""

    def replace_message(self, message_id: MessageId, message: ItemT) -> EditResult:
        """Replace a message by another at the same place; one request, eight commands.

        The record keeps its id, its time, and its fields that the new message does not have, such as metadata. A new
        message without an `id` keeps that of the old one.

        Args:
            message_id: Names the message to replace.
            message: The new message.

        Raises:
            ValueError: The id cannot name a message; nothing was sent.
            UnstorableMessage: The new message cannot be stored; nothing was sent.
            MessageNotFound: There is no such message; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the message was replaced.
        """
        runner = self._runner()
        return runner.run(_replacing(runner, message_id, message))

    async def areplace_message(self, message_id: MessageId, message: ItemT) -> EditResult:
        """Replace a message as `replace_message` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_replacing(runner, message_id, message))

    def delete_messages(self, *message_ids: MessageId) -> EditResult:
        """Remove messages, all or none; one request, eight commands, and one more for each message.

        Args:
            message_ids: Name the messages.

        Raises:
            ValueError: An id cannot name a message, or there is none; nothing was sent.
            MessageNotFound: One of the messages is not there; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the messages were removed.
        """
        runner = self._runner()
        return runner.run(_deleting(runner, message_ids))

    async def adelete_messages(self, *message_ids: MessageId) -> EditResult:
        """Remove messages as `delete_messages` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_deleting(runner, message_ids))

    def truncate(self, *, after: MessageId) -> EditResult:
        """Remove all messages that are newer than one; one request, eight commands.

        Args:
            after: Names the message that becomes the newest.

        Raises:
            ValueError: The id cannot name a message; nothing was sent.
            MessageNotFound: There is no such message; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether messages were removed.
        """
        runner = self._runner()
        return runner.run(_truncating(runner, after))

    async def atruncate(self, *, after: MessageId) -> EditResult:
        """Remove newer messages as `truncate` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_truncating(runner, after))

    def pop(self, n: int = 1) -> EditResult:
        """Remove the newest messages; one request, nine commands, two more requests if there may be duplicates.

        Args:
            n: How many. If there are fewer, all are removed.

        Raises:
            ValueError: `n` is not a whole number from 1 to 10^6; nothing was sent.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether messages were removed.
        """
        runner = self._runner()
        return runner.run(_popping(runner, n))

    async def apop(self, n: int = 1) -> EditResult:
        """Remove the newest messages as `pop` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_popping(runner, n))

    def alternatives(self, message_id: MessageId) -> list[Alternative[ItemT]]:
        """Return the alternatives of a message: what it and the messages after it replaced, oldest first.

        One request and five commands, whatever the number of alternatives; more requests if the reply would exceed the
        server's limit. They are kept as long as the conversation, or for 30 days if that has no ttl, and are deleted
        with it.

        Args:
            message_id: Names the message.

        Raises:
            ValueError: The id cannot name a message; nothing was sent.
            MessageNotFound: There is no such message.
            DatabaseError: Any other failure.
        """
        runner = self._runner()
        return _alternatives(runner, runner.run(_listing(runner, message_id)))

    async def aalternatives(self, message_id: MessageId) -> list[Alternative[ItemT]]:
        """Return alternatives as `alternatives` does, without blocking the event loop."""
        runner = self._runner()
        return _alternatives(runner, await runner.arun(_listing(runner, message_id)))

    def switch_to(self, alternative: Alternative[ItemT] | str) -> EditResult:
        """Put an alternative back; the messages that are there now become an alternative themselves.

        One request and sixteen commands. `removed` is how many messages were put aside.

        Args:
            alternative: An alternative of this conversation, or its id.

        Raises:
            ValueError: It is neither; nothing was sent.
            MessageNotFound: The alternative is gone, or the message before it; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the alternative was put back.
        """
        runner = self._runner()
        return runner.run(_switching(runner, alternative))

    async def aswitch_to(self, alternative: Alternative[ItemT] | str) -> EditResult:
        """Put an alternative back as `switch_to` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_switching(runner, alternative))

    def fork(self, new_session_id: str, *, upto: MessageId | None = None) -> MoveResult:
        """Copy the conversation, or its beginning, to another session of the same user.

        One request: seven commands; two more with `upto`, one more with a ttl, four more on an index, six with a ttl.
        Nothing is downloaded: the records keep their ids and times. Alternatives and drafts stay behind.

        Args:
            new_session_id: The id of the copy.
            upto: Names the newest message to copy; None for all messages.

        Raises:
            ValueError: An id is invalid, or this session was opened by its whole key; nothing was sent.
            SessionNotFound: The conversation is empty; nothing was copied.
            MessageNotFound: There is no message `upto`; nothing was copied.
            ConversationExists: The other session exists; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the conversation was copied.
        """
        runner = self._runner()
        return runner.run(_forking(runner, new_session_id, upto))

    async def afork(self, new_session_id: str, *, upto: MessageId | None = None) -> MoveResult:
        """Copy the conversation as `fork` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_forking(runner, new_session_id, upto))

    def rename(self, new_session_id: str) -> MoveResult:
        """Move the conversation to another session id, with its title, alternatives, draft and quarantine.

        One request: seven commands; four to six more if it has alternatives, a draft or a quarantine; nine more on an
        index, ten with a ttl. This object keeps the old session id.

        Args:
            new_session_id: The new id.

        Raises:
            ValueError: An id is invalid, or this session was opened by its whole key; nothing was sent.
            SessionNotFound: The conversation is empty; nothing was changed.
            ConversationExists: The other session exists; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the conversation was moved.
        """
        runner = self._runner()
        return runner.run(_renaming(runner, new_session_id))

    async def arename(self, new_session_id: str) -> MoveResult:
        """Move the conversation as `rename` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_renaming(runner, new_session_id))

    def read_draft(self) -> DraftText | None:
        """Return the reply that is being written, or was left unfinished within the hour; None if there is none.

        One request, one command. To follow a reply, call it again; it is gone when the reply is complete.
        """
        runner = self._runner()
        return runner.run(_reading_draft(runner))

    async def aread_draft(self) -> DraftText | None:
        """Return the draft as `read_draft` does, without blocking the event loop."""
        runner = self._runner()
        return await runner.arun(_reading_draft(runner))


def _reading_draft(runner: Runner[ItemT]) -> Work[DraftText | None]:
    from chatstash.history.operations.draft import read_draft  # noqa: PLC0415

    return runner.work("read_draft", read_draft(runner.key))


def _replacing(runner: Runner[ItemT], message_id: MessageId, message: ItemT) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    old, (new,) = named(message_id), runner.records_of([message])
    runner.prepared([new])  # raises if it cannot be stored
    return _work(runner, "replace_message", edit.replace_message(runner.key, _new_name(), old, new))


def _deleting(runner: Runner[ItemT], message_ids: Sequence[MessageId]) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    if not message_ids:
        raise ValueError("delete_messages takes at least one id")
    op = edit.delete_messages(runner.key, _new_name(), list(map(named, message_ids)))
    return _work(runner, "delete_messages", op)


def _truncating(runner: Runner[ItemT], after: MessageId) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    return _work(runner, "truncate", edit.truncate(runner.key, _new_name(), named(after)))


def _popping(runner: Runner[ItemT], n: int) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    return _work(runner, "pop", edit.pop(runner.key, _new_name(), checked_whole("n", n, 1, MOST_MESSAGES)))


def _listing(runner: Runner[ItemT], message_id: MessageId) -> Work[Stored]:
    from chatstash.history.operations.alternatives import list_alternatives  # noqa: PLC0415

    return runner.work(
        "alternatives", list_alternatives(runner.key, named(message_id), runner.options.max_request_bytes)
    )


def _alternatives(runner: Runner[ItemT], found: Stored) -> list[Alternative[ItemT]]:
    from chatstash.history.records.timed_names import time_of  # noqa: PLC0415

    made = []
    for name, entries in found:
        records = [entry for entry in entries if isinstance(entry, Record)]
        made.append(Alternative(name, runner.readable_items(records), records, time_of(name)))
    return made


def _switching(runner: Runner[ItemT], alternative: Alternative[ItemT] | str) -> Work[EditResult]:
    from chatstash.history.operations.alternatives import switch_to  # noqa: PLC0415
    from chatstash.history.records.alternatives import alternatives_ttl  # noqa: PLC0415
    from chatstash.history.records.timed_names import new_name  # noqa: PLC0415

    name = alternative.id if isinstance(alternative, Alternative) else alternative
    if not isinstance(name, str) or not name:
        raise ValueError(f"switch_to takes an alternative or its id, not {alternative!r:.80}")
    ttl = alternatives_ttl(runner.options.ttl)
    return _work(runner, "switch_to", switch_to(runner.key, _new_name(), utf8(name, "id").decode(), new_name(), ttl))


def _forking(runner: Runner[ItemT], new_session_id: str, upto: MessageId | None) -> Work[MoveResult]:
    from chatstash.history.operations import move  # noqa: PLC0415

    wanted = None if upto is None else named(upto)
    now_us = time.time_ns() // 1000
    return _work(
        runner,
        "fork",
        move.fork(_move(runner, new_session_id, now_us, str(now_us // 1000)), wanted, runner.options.ttl),
    )


def _renaming(runner: Runner[ItemT], new_session_id: str) -> Work[MoveResult]:
    from chatstash.history.operations import move  # noqa: PLC0415

    return _work(runner, "rename", move.rename(_move(runner, new_session_id, time.time_ns() // 1000, "")))


def _move(runner: Runner[ItemT], new_session_id: str, now_us: int, created: str) -> Move:
    from chatstash.history.operations import move  # noqa: PLC0415

    source, entry = runner.address.named, runner.address.entry
    if source is None:
        raise ValueError(f"the key {runner.key!r:.80} does not begin with a key_prefix: open the session by its id")
    keys = None if entry is None else (entry.keys, entry.keys)
    lifetime = 0 if entry is None else entry.lifetime(runner.options.ttl)
    listing = move.Listing(keys, lifetime, now_us, beginning(now_us // 1000, ""), created)
    return move.Move(_new_name(), source, source.sibling(new_session_id), listing)


def _work(runner: Runner[ItemT], name: str, op: Op[T]) -> Work[T]:
    return runner.work(name, op, runner.options.retry_policy.idempotent)


def _new_name() -> str:
    return os.urandom(12).hex()
