"""Imports ChatGPT's data export into a store."""

from __future__ import annotations

from chatstash.calls import Call, Calls, arun, run
from chatstash.history.records.lines import Header
from chatstash.history.store import Store
from chatstash.transfer.chatgpt.files import ExportPath
from chatstash.transfer.chatgpt.reading import ChatGPTConversation, ChatGPTSource
from chatstash.transfer.report import ImportReport
from chatstash.transfer.storing import checked_id, stored


def import_chatgpt(store: Store, path: ExportPath, *, user_id: str | None = None) -> ImportReport:
    """Import the conversations of ChatGPT's data export; ChatGPT's ids become the session ids.

    Each conversation is stored whole or not at all, exactly once. One that is there already is skipped and reported, so
    importing again adds nothing, and completes an import that was interrupted. Titles and times are kept if the session
    is on an index: with a `user_id`, or in a store with `index=True`. For each conversation, costs what
    `Session.restore` costs; with an index, one or two more commands for its title.

    Args:
        store: The store to import into.
        path: The zip as ChatGPT offers it, the folder of its files, or one `conversations.json`.
        user_id: The user the conversations will belong to, or None.

    Returns:
        What was imported, and everything that was left out, with the reasons: see `read_chatgpt_export`.

    Raises:
        ValueError: It is no such export, or the user id is invalid; nothing was sent.
        OSError: It cannot be read.
        DatabaseError: Conversations before were imported. Importing again is safe.
    """
    return run(_import(store, ChatGPTSource(path), checked_id("user_id", user_id)))


async def aimport_chatgpt(store: Store, path: ExportPath, *, user_id: str | None = None) -> ImportReport:
    """Import as `import_chatgpt` does, without blocking the event loop: files are read in a thread."""
    return await arun(_import(store, ChatGPTSource(path), checked_id("user_id", user_id)))


def _import(store: Store, source: ChatGPTSource, user_id: str | None) -> Calls[ImportReport]:
    report = ImportReport()
    found: ChatGPTConversation | None
    try:
        while (found := (yield Call(source, "next_conversation"))) is not None:
            report.skipped += found.skipped
            report.errors += found.errors
            if found.id is not None and found.messages:
                header = Header(found.id, user_id, found.title)
                yield from stored(store, header, found.records(), "skip", report)
    finally:
        source.close()
    return report
