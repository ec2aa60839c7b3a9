"""The options of a migration, and its results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

MOVED = ("created", "completed", "merged")
"""Statuses of conversations of which messages were stored; in a dry run, would be."""

LEFT = ("refused", "unreadable", "failed", "missing")
"""Statuses of conversations that are not in their threads."""


class HowToImport(NamedTuple):
    """The options of all imports.

    Attributes:
        thread_prefix: Precedes each session id in the thread's id.
        messages_key: The channel of the messages.
        merge: Whether to add messages to threads in use.
        skip_unreadable: Whether to leave out records that cannot be read.
        dry_run: Whether to store nothing.
    """

    thread_prefix: str
    messages_key: str
    merge: bool
    skip_unreadable: bool
    dry_run: bool


@dataclass
class LeftOut:
    """A record that was left out, or that kept a conversation from being imported."""

    position: int
    reason: str


@dataclass
class ConversationReport:
    """The result of one conversation; `docs/guides/migration-to-langgraph.md` lists the statuses."""

    session_id: str
    key: str
    thread_id: str
    status: str = "failed"
    messages: int = 0
    added: int = 0
    updated: int = 0
    unreadable: list[LeftOut] = field(default_factory=list)
    error: str | None = None


@dataclass
class MigrationReport:
    """The totals of a run.

    Attributes:
        dry_run: Whether nothing is stored.
        statuses: Number of conversations by status.
        messages: Number of messages that were added.
        unreadable: Number of records that were left out.
        stopped_by: The error that ended the run early.
        interrupted: Whether Ctrl-C ended the run.
    """

    dry_run: bool
    statuses: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    unreadable: int = 0
    stopped_by: str | None = None
    interrupted: bool = False

    def add(self, conversation: ConversationReport) -> None:
        """Count a conversation."""
        self.statuses[conversation.status] += 1
        self.messages += conversation.added
        self.unreadable += len(conversation.unreadable)

    @property
    def moved(self) -> int:
        """How many conversations had messages to add."""
        return sum(self.statuses[status] for status in MOVED)

    @property
    def exit_code(self) -> int:
        """The exit code; `chatstash migrate --help` lists them."""
        if self.interrupted:
            return 130
        if self.stopped_by is not None:
            return 2
        return 1 if self.unreadable or any(self.statuses[status] for status in LEFT) else 0
