"""Decides what an import does to a thread. Pure.

| the thread | its messages afterwards |
|---|---|
| is new | those of the conversation |
| was made by imports of this conversation | its own, with the missing ones, and changed ones replaced |
| is in use, and lacks nothing | its own |
| is in use, and lacks messages | refused; with `merge`, its own with the missing ones |

A message that an earlier import put there, and that the application has removed since, is not missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import CheckpointTuple

from chatstash.errors import ThreadInUse
from chatstash.langgraph.migration.merging import changed, ids_of, merged, replaced
from chatstash.langgraph.migration.results import ImportStatus


class Plan(NamedTuple):
    """What an import does.

    Attributes:
        status: As in `ImportResult`.
        messages: The messages of the thread afterwards; None if it stays as it is.
        added: How many messages are added.
        updated: How many messages are replaced.
    """

    status: ImportStatus
    messages: list[BaseMessage] | None = None
    added: int = 0
    updated: int = 0


def for_new_thread(wanted: Sequence[BaseMessage]) -> Plan:
    """Return the plan for a thread without checkpoints."""
    return Plan("created", list(wanted), len(wanted)) if wanted else Plan("empty")


def for_imported_thread(
    wanted: Sequence[BaseMessage], present: Sequence[BaseMessage], as_stored: Callable[[BaseMessage], BaseMessage]
) -> Plan:
    """Return the plan for a thread whose newest checkpoint is an import of the same conversation.

    Args:
        wanted: The messages of the conversation.
        present: The messages of the thread.
        as_stored: Returns a message as the checkpointer would return it.
    """
    missing, changes = ids_of(wanted) - ids_of(present), changed(wanted, present, as_stored)
    if not missing and not changes:
        return Plan("unchanged")
    messages = merged(replaced(present, changes), wanted, missing)
    return Plan("completed", messages, len(missing), len(changes))


def for_thread_in_use(
    wanted: Sequence[BaseMessage],
    present: Sequence[BaseMessage],
    imported: Sequence[BaseMessage],
    latest: CheckpointTuple,
    *,
    merge: bool,
) -> Plan:
    """Return the plan for a thread whose newest checkpoint another writer made.

    Args:
        wanted: The messages of the conversation.
        present: The messages of the thread.
        imported: The messages of an earlier import of the conversation; empty if there was none.
        latest: The thread's newest checkpoint.
        merge: Whether messages may be added.

    Raises:
        ThreadInUse: Messages are missing and cannot be added.
    """
    missing = ids_of(wanted) - ids_of(present) - ids_of(imported)
    if not missing:
        return Plan("unchanged")
    if reason := _why_not(latest, merge=merge):
        raise ThreadInUse(latest.config["configurable"]["thread_id"], len(missing), reason)
    return Plan("merged", merged(present, wanted, missing), len(missing))


def _why_not(latest: CheckpointTuple, *, merge: bool) -> str | None:
    if not merge:
        return (
            "it has checkpoints that no import of this conversation made. Import into another thread, or insert the "
            "missing messages with merge=True, or --merge on the command line"
        )
    if latest.pending_writes:
        return "its last run waits for an answer or did not end. Resume and end that run, then import again"
    return None
