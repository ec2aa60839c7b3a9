"""The results of importing and exporting a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from langchain_core.runnables import RunnableConfig

from chatstash.errors import UnreadableRecord
from chatstash.history.records.record import RecordId

ImportStatus = Literal["created", "completed", "merged", "unchanged", "empty"]
"""What an import did to the thread."""


class ImportResult(NamedTuple):
    """The result of an import. A dry run returns what an import would.

    Attributes:
        status: `created` if the thread is new; `completed` if an earlier import made it, and the conversation has grown
            or changed since; `merged` if messages were added to a thread in use; `unchanged` if the thread has all of
            the conversation; `empty` if the conversation has no messages, so that no thread was made.
        messages: How many messages the conversation has.
        added: How many of them the thread did not have.
        updated: How many of them the thread had with another content.
        unreadable: The errors of records that were left out; only with `on_corrupt="skip"`.
        config: The config of the thread's newest checkpoint; None if there is none, or after a dry run.
    """

    status: ImportStatus
    messages: int
    added: int = 0
    updated: int = 0
    unreadable: Sequence[UnreadableRecord] = ()
    config: RunnableConfig | None = None


class ExportResult(NamedTuple):
    """The result of an export. A dry run returns what an export would, without record ids.

    Attributes:
        messages: How many messages the thread has.
        added: How many of them the conversation did not have.
        record_ids: The ids of the records that were appended, oldest first.
    """

    messages: int
    added: int = 0
    record_ids: Sequence[RecordId] = ()
