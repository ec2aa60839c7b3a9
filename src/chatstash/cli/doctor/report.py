"""The results of a doctor run."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatstash.history.doctor.diagnosis import Finding


@dataclass
class ConversationReport:
    """The findings in one conversation. `records` is None if only its expiry was checked."""

    key: str
    records: int | None = None
    remaining: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)
    error: str | None = None

    def record_repair(self, finding: Finding) -> None:
        """Count a finding as repaired."""
        self.repaired.append(finding)
        if finding in self.remaining:
            self.remaining.remove(finding)


@dataclass
class DoctorReport:
    """The results of a run: the conversations with findings, repairs or an error, and the skipped keys by the reason.

    `fix`: repairs were requested. `named`: the user named the conversations. `stopped_by`: the error that ended the
    run early.
    """

    fix: bool
    key_prefix: str
    named: bool
    examined: int = 0
    conversations: list[ConversationReport] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    stopped_by: str | None = None
    interrupted: bool = False

    def skip(self, key: str, reason: str) -> None:
        """Count a key as skipped."""
        self.skipped.setdefault(reason, []).append(key)

    @property
    def repaired(self) -> int:
        """How many findings were repaired."""
        return sum(len(conversation.repaired) for conversation in self.conversations)

    @property
    def remaining(self) -> list[Finding]:
        """Findings that are not repaired."""
        return [finding for conversation in self.conversations for finding in conversation.remaining]

    @property
    def exit_code(self) -> int:
        """The exit code; `chatstash doctor --help` lists them."""
        if self.interrupted:
            return 130
        if self.stopped_by is not None or any(conversation.error for conversation in self.conversations):
            return 2
        return 1 if self.remaining or (self.named and self.skipped) else 0
