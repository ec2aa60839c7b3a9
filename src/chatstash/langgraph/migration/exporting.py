"""Exports the messages of a thread to a stored conversation."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from chatstash.calls import Call, Calls, arun, run
from chatstash.history.values.results import AppendResult
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langgraph.migration.checkpoints import Channel
from chatstash.langgraph.migration.conversations import read_conversation, session_of
from chatstash.langgraph.migration.identities import identified_in_thread
from chatstash.langgraph.migration.merging import ids_of
from chatstash.langgraph.migration.results import ExportResult
from chatstash.langgraph.migration.threads import checked_channel, checked_saver, messages_at


def export_history(
    saver: BaseCheckpointSaver[Any],
    thread_id: str,
    history: UpstashRedisChatMessageHistory,
    *,
    checkpoint_ns: str = "",
    messages_key: str = "messages",
    dry_run: bool = False,
) -> ExportResult:
    """Export the messages of a LangGraph thread to a conversation, each once, without its graph.

    Appends, in one step, the messages that the conversation does not have, by their ids. So exporting again appends
    nothing, or only what the thread got since, and a conversation that was imported into the thread gets only the
    newer messages. The thread is not changed. Messages that the thread has removed stay in the conversation.

    Costs one `get_tuple`, one request to read the conversation, and one to append.

    Args:
        saver: The checkpointer, of any kind.
        thread_id: The thread.
        history: The conversation.
        checkpoint_ns: Namespace of the graph; empty for the root graph.
        messages_key: The channel of the messages.
        dry_run: Whether to store nothing, and return what would be done.

    Raises:
        ValueError: An argument is invalid, or the channel does not hold messages; nothing was changed.
        UnreadableRecord: A record of the conversation cannot be read; nothing was changed.
        ConcurrentTurn: Others changed the conversation meanwhile; nothing was stored. Export again.
        UnstorableMessage: A message cannot be stored; nothing was stored.
        DatabaseError: Any other failure; its `applied` says whether the messages were stored. Export again.
    """
    source = checked_channel(thread_id, checkpoint_ns, messages_key)
    return run(_export(checked_saver(saver), source, history, dry_run=dry_run))


async def aexport_history(
    saver: BaseCheckpointSaver[Any],
    thread_id: str,
    history: UpstashRedisChatMessageHistory,
    *,
    checkpoint_ns: str = "",
    messages_key: str = "messages",
    dry_run: bool = False,
) -> ExportResult:
    """Export as `export_history` does, without blocking the event loop."""
    source = checked_channel(thread_id, checkpoint_ns, messages_key)
    return await arun(_export(checked_saver(saver), source, history, dry_run=dry_run))


def _export(
    saver: BaseCheckpointSaver[Any], source: Channel, history: UpstashRedisChatMessageHistory, *, dry_run: bool
) -> Calls[ExportResult]:
    session = session_of(history)
    latest: CheckpointTuple | None = yield Call(saver, "get_tuple", (source.config,))
    found = [] if latest is None else (yield from messages_at(saver, source, latest))
    messages = identified_in_thread(found, source.thread_id)
    conversation = yield from read_conversation(session, "raise")
    known = ids_of(conversation.messages)
    missing = [message for message in messages if message.id not in known]
    if dry_run or not missing:
        return ExportResult(len(messages), len(missing))
    appending = session.appending_unless_changed(session.records_of(missing), conversation.contents)
    done: AppendResult = yield Call(session, "run", (appending,))
    return ExportResult(len(messages), len(missing), done.record_ids)
