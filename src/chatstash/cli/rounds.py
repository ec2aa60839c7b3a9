"""The doctor's round of a database's conversations, and what came of it. Prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field

from chatstash.errors import BadCredentials, ChatstashError, DatabaseError, QuotaExceeded, ReadOnlyToken, WrongType
from chatstash.history.doctor.diagnosis import Finding, Repair, other_type
from chatstash.history.doctor.doctor import Doctor, Examination

_CONCERN_ALL_KEYS = (BadCredentials, QuotaExceeded, ReadOnlyToken)

NO_UTF8 = "its name is not UTF-8"
NO_MESSAGES = "not one message is in it, so with an empty prefix it may be any list: name it to have it looked at"


@dataclass
class Visit:
    """What was found in one conversation and what was done.

    Attributes:
        key: Its key.
        records: How many records it has; None where this was not looked at.
        remaining: The damages that are still there.
        repaired: Those that were repaired.
        error: What went wrong, or None.
    """

    key: str
    records: int | None = None
    remaining: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)
    error: str | None = None

    def has_repaired(self, finding: Finding) -> None:
        """Take note of a repair."""
        self.repaired.append(finding)
        if finding in self.remaining:
            self.remaining.remove(finding)

    @property
    def moved(self) -> bool:
        """Whether a record was moved to the quarantine."""
        return any(finding.repair in {Repair.QUARANTINE, Repair.TAKE_OUT} for finding in self.repaired)


@dataclass
class Report:
    """What came of a round.

    Attributes:
        fix: Whether repairs were asked for.
        prefix: What the keys begin with.
        conversations: How many were looked at.
        visits: Those of which there is something to say.
        missing: The keys that were named and do not exist.
        skipped: How many keys were not looked at, by the reason.
        stopped_by: What ended the round early, or None.
        interrupted: Whether it was interrupted.
    """

    fix: bool
    prefix: str
    conversations: int = 0
    visits: list[Visit] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    stopped_by: str | None = None
    interrupted: bool = False

    @property
    def repaired(self) -> int:
        """How many damages were repaired."""
        return sum(len(visit.repaired) for visit in self.visits)

    @property
    def remaining(self) -> list[Finding]:
        """The damages that are still there."""
        return [finding for visit in self.visits for finding in visit.remaining]

    @property
    def damaged(self) -> int:
        """In how many conversations something was found."""
        return len({visit.key for visit in self.visits if visit.remaining or visit.repaired})

    @property
    def exit_code(self) -> int:
        """0 nothing is wrong or all is repaired, 1 damage remains or a key is missing, 2 failed, 130 interrupted."""
        if self.interrupted:
            return 130
        if self.stopped_by or any(visit.error for visit in self.visits):
            return 2
        return 1 if self.remaining or self.missing else 0


def in_own_words(error: ChatstashError) -> str:
    """Return what an error says without the server's words: these may quote the command, and so what messages say."""
    if isinstance(error, DatabaseError) and error.server_text is not None:
        error = copy(error)
        error.server_text = None
    return str(error)


class Round:
    """Visits conversations one after the other.

    Args:
        doctor: Who examines and repairs.
        report: Where to take note of what came of it.
        named: Whether the conversations were named by the user, and not found by their prefix.
    """

    def __init__(self, doctor: Doctor, report: Report, *, named: bool) -> None:
        self.report = report
        self._doctor = doctor
        self._named = named
        self._examined: list[str] = []

    def keys(self) -> list[str]:
        """Return the keys that begin with the prefix.

        Raises:
            ReadOnlyToken: A read-only token may not list keys.
        """
        found: list[str] = []
        for key in self._doctor.listed():
            try:
                found.append(key.decode())
            except UnicodeDecodeError:
                self.report.skipped[NO_UTF8] += 1
        return sorted(found)

    def visits(self, keys: Sequence[str], ttl: int | None) -> Iterator[Visit]:
        """Visit conversations, and with a ttl see to their expiry; yields a visit for each key and each expiry missing.

        Raises:
            DatabaseError: Something that concerns all of them: the token or the quota.
        """
        for key in keys:
            visit = Visit(key)
            try:
                self._look_at(visit)
            except _CONCERN_ALL_KEYS:
                raise
            except DatabaseError as error:
                self._note(visit)
                visit.error = in_own_words(error)
            yield visit
        if ttl is None:
            return
        for key, finding in self._doctor.without_expiry(self._examined, ttl=ttl).items():
            yield self._see_to_expiry(key, finding)

    def _look_at(self, visit: Visit) -> None:
        try:
            examination = self._doctor.examine(visit.key)
        except WrongType:
            self.report.conversations += 1
            visit.remaining = [other_type()]
            self._note(visit)
            return
        if not examination.stored:
            self.report.missing += [visit.key] if self._named else []
            return
        if examination.holds_no_message and not self._named and not self.report.prefix:
            self.report.skipped[NO_MESSAGES] += 1
            return
        self.report.conversations += 1
        self._examined.append(visit.key)
        visit.records, visit.remaining = len(examination.stored), list(examination.findings)
        if visit.remaining:
            self._note(visit)
            self._treat(visit, examination)

    def _treat(self, visit: Visit, examination: Examination) -> None:
        if self.report.fix:
            visit.remaining = self._doctor.treat(examination, visit.has_repaired)

    def _see_to_expiry(self, key: str, finding: Finding) -> Visit:
        visit = Visit(key, remaining=[finding])
        self._note(visit)
        if self.report.fix:
            visit.remaining = []
            visit.repaired = [finding] if self._doctor.expire(key, finding) else []
        return visit

    def _note(self, visit: Visit) -> None:
        if visit not in self.report.visits[-1:]:
            self.report.visits.append(visit)
