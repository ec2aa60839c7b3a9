"""Reports of imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Imported(NamedTuple):
    """A conversation that was imported.

    Attributes:
        session_id: Its session id.
        user_id: The user it belongs to, or None.
        records: How many records it has.
    """

    session_id: str
    user_id: str | None
    records: int


class Skipped(NamedTuple):
    """A conversation, or a part of one, that was not imported, as asked or because it cannot be represented.

    Attributes:
        session_id: The session id of the conversation; None if it has none.
        reason: Why.
        message_id: The message that was left out; None if it is the conversation, or the message has no id.
    """

    session_id: str | None
    reason: str
    message_id: str | None = None


class ImportProblem(NamedTuple):
    """Something that could not be read or stored.

    Attributes:
        reason: What is wrong.
        line: The number of the line, from 1; None if it has none.
        session_id: The session id of the conversation, if it is known.
        file: The name of the file; empty for lines.
    """

    reason: str
    line: int | None = None
    session_id: str | None = None
    file: str = ""


@dataclass
class ImportReport:
    """What an import did: everything that it was given is in one of the lists.

    Attributes:
        imported: The conversations that were stored.
        skipped: Conversations, and parts of conversations, that were left out, with the reasons.
        errors: What could not be read or stored.
    """

    imported: list[Imported] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    errors: list[ImportProblem] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "imported": [each._asdict() for each in self.imported],
            "skipped": [each._asdict() for each in self.skipped],
            "errors": [each._asdict() for each in self.errors],
        }
