"""Imports a stored conversation into a thread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from chatstash.calls import Call, Calls, arun, run
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langgraph.migration.checkpoints import (
    IMPORTED_FROM,
    Channel,
    checkpoint_to_put,
    is_import,
    messages_in,
    origin_of,
)
from chatstash.langgraph.migration.conversations import OnUnreadable, read_conversation, session_of
from chatstash.langgraph.migration.plan import Plan, for_imported_thread, for_new_thread, for_thread_in_use
from chatstash.langgraph.migration.results import ImportResult
from chatstash.langgraph.migration.threads import as_stored, checked_channel, checked_saver, messages_at


def import_history(
    history: UpstashRedisChatMessageHistory,
    saver: BaseCheckpointSaver[Any],
    thread_id: str,
    *,
    checkpoint_ns: str = "",
    messages_key: str = "messages",
    merge: bool = False,
    on_corrupt: OnUnreadable = "raise",
    dry_run: bool = False,
) -> ImportResult:
    """Import a stored conversation into a LangGraph thread, without its graph. The conversation is not changed.

    Stores one checkpoint, in the form of `update_state`: nothing is pending, and the next `invoke` of any graph whose
    state has such messages continues the conversation. Importing again stores nothing, or only what the conversation
    got since; an import that was interrupted is simply repeated. A message keeps its id. If it has none, it gets one
    that is derived from its record, so it is the same in each import.

    Whole conversations are imported, whatever `read_last` and the other options of the history say. Costs one request
    to read the conversation, one `get_tuple` and one `put`.

    Args:
        history: The conversation: of chatstash, langchain-community's class, or LangChain.js.
        saver: The checkpointer, of any kind.
        thread_id: The thread.
        checkpoint_ns: Namespace of the graph; empty for the root graph.
        messages_key: The channel of the messages.
        merge: Whether to add missing messages to a thread that the application has used. Each is inserted after its
            predecessor in the conversation; those without one come first. Do not run the thread meanwhile.
        on_corrupt: `raise` if a record cannot be read, or `skip` to leave such records out. A tool call that may have
            lost its result with them gets a placeholder for it; a result that lost its call is left out.
        dry_run: Whether to store nothing, and return what would be done.

    Raises:
        ValueError: An argument is invalid, or the channel does not hold messages; nothing was changed.
        UnreadableRecord: A record cannot be read; nothing was changed.
        ThreadInUse: The thread lacks messages of the conversation, and has checkpoints that no import made; nothing was
            changed. A thread that has all messages, or had them imported earlier, is left as it is.
        UnstorableValue: A message holds a value that a thread cannot, such as an integer over 64 bits; nothing was
            stored. Other checkpointers raise errors of their own.
        DatabaseError: Any other failure. Importing again is safe.
    """
    target = checked_channel(thread_id, checkpoint_ns, messages_key)
    options = _Options(merge, on_corrupt, dry_run)
    return run(_import(history, checked_saver(saver), target, options))


async def aimport_history(
    history: UpstashRedisChatMessageHistory,
    saver: BaseCheckpointSaver[Any],
    thread_id: str,
    *,
    checkpoint_ns: str = "",
    messages_key: str = "messages",
    merge: bool = False,
    on_corrupt: OnUnreadable = "raise",
    dry_run: bool = False,
) -> ImportResult:
    """Import as `import_history` does, without blocking the event loop."""
    target = checked_channel(thread_id, checkpoint_ns, messages_key)
    options = _Options(merge, on_corrupt, dry_run)
    return await arun(_import(history, checked_saver(saver), target, options))


class _Options(NamedTuple):
    """How to import."""

    merge: bool
    on_corrupt: OnUnreadable
    dry_run: bool


def _import(
    history: UpstashRedisChatMessageHistory, saver: BaseCheckpointSaver[Any], target: Channel, options: _Options
) -> Calls[ImportResult]:
    if options.on_corrupt not in ("raise", "skip"):
        raise ValueError(f"on_corrupt must be 'raise' or 'skip', not {options.on_corrupt!r}")
    session = session_of(history)
    conversation = yield from read_conversation(session, options.on_corrupt)
    wanted, origin = conversation.messages, origin_of(session.key)
    latest: CheckpointTuple | None = yield Call(saver, "get_tuple", (target.config,))
    plan = yield from _plan(saver, target, wanted, latest, origin, merge=options.merge)
    config = None if latest is None or options.dry_run else latest.config
    if plan.messages is not None and not options.dry_run:
        put = checkpoint_to_put(saver, target, plan.messages, latest, origin)
        config = yield Call(saver, "put", tuple(put))
    return ImportResult(plan.status, len(wanted), plan.added, plan.updated, conversation.unreadable, config)


def _plan(
    saver: BaseCheckpointSaver[Any],
    target: Channel,
    wanted: Sequence[BaseMessage],
    latest: CheckpointTuple | None,
    origin: str,
    *,
    merge: bool,
) -> Calls[Plan]:
    if latest is None:
        return for_new_thread(wanted)
    if is_import(latest, origin):
        return for_imported_thread(wanted, messages_in(latest, target), partial(as_stored, saver))
    present = yield from messages_at(saver, target, latest)
    imported = yield from _last_imported(saver, target, origin)
    return for_thread_in_use(wanted, present, imported, latest, merge=merge)


def _last_imported(saver: BaseCheckpointSaver[Any], target: Channel, origin: str) -> Calls[list[BaseMessage]]:
    """Return the messages of the last import of the conversation; none if it was never imported."""
    found: list[CheckpointTuple] = yield Call(
        saver, "list", (target.config,), {"filter": {IMPORTED_FROM: origin}, "limit": 1}
    )
    return messages_in(found[0], target) if found else []
