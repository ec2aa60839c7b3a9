"""Runs the doctor over conversations and collects the results. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatstash.cli.doctor.report import ConversationReport, DoctorReport
from chatstash.cli.running import STOP_THE_RUN, without_server_text
from chatstash.errors import DatabaseError, WrongType
from chatstash.history.doctor.diagnosis import no_expiry
from chatstash.history.doctor.doctor import Doctor


class DoctorRun:
    """Examines conversations one after the other, repairs them if the report says so, and reports.

    Calls `on_examined` with each conversation, also if an error or Ctrl-C cut it short.
    """

    def __init__(self, doctor: Doctor, report: DoctorReport, on_examined: Callable[[ConversationReport], None]) -> None:
        self._doctor = doctor
        self._report = report
        self._on_examined = on_examined
        self._examined: list[str] = []

    def keys(self) -> list[str]:
        """Return the keys that start with the prefix, in order."""
        keys: list[str] = []
        for key in self._doctor.list_keys():
            try:
                keys.append(key.decode())
            except UnicodeDecodeError:
                self._report.skip(key.decode(errors="backslashreplace"), "key is not UTF-8")
        return sorted(keys)

    def examine(self, keys: Sequence[str]) -> None:
        """Examine conversations, and repair them if requested. An error stops the others only if it concerns all."""
        for key in keys:
            conversation = ConversationReport(key)
            try:
                self._examine(conversation)
            except STOP_THE_RUN:
                raise
            except DatabaseError as error:
                conversation.error = without_server_text(error)
            finally:
                self._add(conversation)

    def check_expiries(self, ttl: int) -> None:
        """Find examined conversations without an expiry, and set it if requested."""
        finding = no_expiry(ttl)
        for key in self._doctor.keys_without_expiry(self._examined):
            conversation = ConversationReport(key, remaining=[finding])
            try:
                if self._report.fix:
                    conversation.repaired = [finding] if self._doctor.set_expiry(key, ttl) else []
                    conversation.remaining = []
            finally:
                self._add(conversation)

    def _examine(self, conversation: ConversationReport) -> None:
        key, report = conversation.key, self._report
        try:
            examination = self._doctor.examine(key)
        except WrongType:
            return report.skip(key, "not a list")
        if not examination.records:
            # A key found by its prefix has expired since.
            return report.skip(key, "no such conversation") if report.named else None
        if examination.has_no_message and not report.named and not report.key_prefix:
            return report.skip(key, "no readable message, so it may not be a conversation; name it to examine it")
        report.examined += 1
        self._examined.append(key)
        conversation.records, conversation.remaining = len(examination.records), list(examination.findings)
        if conversation.remaining and report.fix:
            conversation.remaining = self._doctor.repair(examination, conversation.record_repair)
        return None

    def _add(self, conversation: ConversationReport) -> None:
        if conversation.repaired or conversation.remaining or conversation.error:
            self._report.conversations.append(conversation)
        self._on_examined(conversation)
