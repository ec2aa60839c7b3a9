"""Editing a conversation: messages replaced and removed, for blocking callers and for asyncio.

The operations are loaded on first use: most processes only read and append.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from chatstash.history.runner import Runner, Work
from chatstash.history.values.options import MOST_MESSAGES, checked_whole
from chatstash.history.values.results import EditResult
from chatstash.rest.ops import Op

if TYPE_CHECKING:
    from chatstash.history.operations.edit import MessageId

ItemT = TypeVar("ItemT")


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
        """Remove messages, all or none; one request, nine commands for one message, one more for each further.

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
        """Remove the newest messages; one request, eight commands, two more requests if there may be duplicates.

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


def _replacing(runner: Runner[ItemT], message_id: MessageId, message: ItemT) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    old, (new,) = edit.named(message_id), runner.records_of([message])
    runner.prepared([new])  # raises if it cannot be stored
    return _work(runner, "replace_message", edit.replace_message(runner.key, _new_name(), old, new))


def _deleting(runner: Runner[ItemT], message_ids: Sequence[MessageId]) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    if not message_ids:
        raise ValueError("delete_messages takes at least one id")
    op = edit.delete_messages(runner.key, _new_name(), list(map(edit.named, message_ids)))
    return _work(runner, "delete_messages", op)


def _truncating(runner: Runner[ItemT], after: MessageId) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    return _work(runner, "truncate", edit.truncate(runner.key, _new_name(), edit.named(after)))


def _popping(runner: Runner[ItemT], n: int) -> Work[EditResult]:
    from chatstash.history.operations import edit  # noqa: PLC0415

    return _work(runner, "pop", edit.pop(runner.key, _new_name(), checked_whole("n", n, 1, MOST_MESSAGES)))


def _work(runner: Runner[ItemT], name: str, op: Op[EditResult]) -> Work[EditResult]:
    return runner.work(name, op, runner.options.retry_policy.idempotent)


def _new_name() -> str:
    return os.urandom(12).hex()
