"""Groups lines into conversations, and notes what is wrong with them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatstash.history.records.lines import Header, RecordLine, parse_line
from chatstash.transfer.lines import NumberedLine
from chatstash.transfer.report import ImportProblem


@dataclass
class Conversation:
    """The lines of one conversation.

    Attributes:
        first_line: The number of the first.
        header: The header; None for lines that follow none that can be read.
        ordinal: The number of headers up to this.
        stored: The stored records, oldest first.
        problems: What is wrong with the lines.
        following: The number that the next record should have.
    """

    first_line: int
    header: Header | None
    ordinal: int
    stored: list[bytes] = field(default_factory=list)
    problems: list[ImportProblem] = field(default_factory=list)
    following: int = 0

    def add(self, line: NumberedLine, record: RecordLine) -> None:
        """Add a record, and note if others are missing before it."""
        number = self.following if record.number is None else record.number
        if number > self.following and self.header is not None:
            self.note(line, f"the records {self.following} to {number - 1} of its conversation are missing before it")
        self.following = number + 1
        self.stored.append(record.raw)

    def note(self, line: NumberedLine, reason: str) -> None:
        """Note that a line is malformed."""
        self.problems.append(ImportProblem(reason, line.number, self.header and self.header.session_id))

    def all_problems(self) -> list[ImportProblem]:
        """Return what is wrong with the lines, and with records that follow no header."""
        if self.header is not None or not self.stored:
            return self.problems
        left_out = len(self.stored)
        reason = f"records from this line on follow no header that can be read; left out: {left_out}"
        return [*self.problems, ImportProblem(reason, self.first_line)]


class Grouping:
    """Groups lines into conversations.

    Attributes:
        current: The conversation of the last lines.
    """

    current: Conversation | None = None
    _headers = 0

    def add(self, line: NumberedLine) -> Conversation | None:
        """Add a line; return the conversation before it if it begins another."""
        parsed = _parsed(line)
        ended = None
        if self._begins_another(parsed):
            header = parsed if isinstance(parsed, Header) else None
            self._headers += header is not None
            ended, self.current = self.current, Conversation(line.number, header, self._headers)
        assert self.current is not None
        if isinstance(parsed, RecordLine):
            self.current.add(line, parsed)
        elif isinstance(parsed, str):
            self.current.note(line, parsed)
        return ended

    def _begins_another(self, parsed: Header | RecordLine | str) -> bool:
        current = self.current
        if current is None or isinstance(parsed, Header):
            return True
        if not isinstance(parsed, RecordLine) or parsed.number is None:
            return False
        # The header before it is missing, or is the malformed line.
        return parsed.number < current.following or (parsed.number == 0 and bool(current.problems))


def _parsed(line: NumberedLine) -> Header | RecordLine | str:
    """Return what a line holds, or what is wrong with it."""
    if line.text is None:
        return "it is not UTF-8"
    try:
        return parse_line(line.text)
    except ValueError as error:
        return str(error)
