"""The report of a doctor run, as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

from rich.text import Text

from chatstash.cli.doctor.report import ConversationReport, DoctorReport
from chatstash.cli.terminal import counted, errors, noun_for, out, print_error, printable
from chatstash.history.doctor.diagnosis import Damage, Finding, Repair
from chatstash.history.records.keys import companion_key

_WOULD = {
    Repair.QUARANTINE: "would move it to quarantine",
    Repair.REMOVE_BLOCKS: "would copy the message to quarantine, and remove the result from it",
    Repair.INSERT_RESULT: "would insert a placeholder error result",
    Repair.SET_EXPIRY: "would set an expiry of {} seconds",
    Repair.NONE: "left as it is",
}
_DONE = {
    Repair.QUARANTINE: "moved to quarantine",
    Repair.REMOVE_BLOCKS: "copied the message to quarantine, and removed the result from it",
    Repair.INSERT_RESULT: "inserted a placeholder error result",
    Repair.SET_EXPIRY: "set an expiry of {} seconds",
}
_NOT_DONE = dict.fromkeys(_DONE, "not repaired") | {Repair.NONE: "left as it is"}
_TO_QUARANTINE = {Repair.QUARANTINE, Repair.REMOVE_BLOCKS}
_INDENT = 4
_MAX_NAMES = 5


def print_conversation(conversation: ConversationReport, *, fix: bool) -> None:
    """Print the findings in a conversation and their repairs, or nothing if there are none."""
    if not (conversation.repaired or conversation.remaining):
        return
    count = "" if conversation.records is None else f"  {counted(conversation.records, 'record')}"
    out.print(Text.assemble((printable(conversation.key), "bold"), (count, "dim")))
    lines = [(finding, _DONE[finding.repair], "green") for finding in conversation.repaired]
    actions = _NOT_DONE if fix else _WOULD
    lines += [(finding, actions[finding.repair], "yellow") for finding in conversation.remaining]
    width = max(len(_place(finding)) for finding, *_ in lines)
    for finding, action, style in sorted(lines, key=lambda line: line[0].position or 0):
        out.print(_finding_line(finding, action, style, width))
    if any(finding.repair in _TO_QUARANTINE for finding in conversation.repaired):
        quarantine = companion_key("quarantine", conversation.key)
        out.print(Text(f"{'':{_INDENT}}quarantine: {quarantine}", "dim"))
    out.print()


def _finding_line(finding: Finding, action: str, style: str, width: int) -> Text:
    record_id = f"  {finding.record_id}" if finding.record_id else ""
    line = Text(" " * _INDENT)
    line.append(f"{_place(finding):>{width}}", "cyan")
    line.append(f"  {printable(finding.reason)}")
    line.append(f"{record_id}\n", "dim")
    line.append(f"{'':{_INDENT + width + 2}}{action.format(finding.ttl)}", style)
    return line


def _place(finding: Finding) -> str:
    return "expiry" if finding.position is None else f"{finding.position}"


def print_summary(report: DoctorReport) -> None:
    """Print the totals, and errors on standard error."""
    for conversation in report.conversations:
        if conversation.error is not None:
            print_error(conversation.error, conversation.key, "bold red")
    for reason, keys in report.skipped.items():
        (errors if report.named else out).print(_skipped_line(reason, keys))
    if report.conversations or not (report.stopped_by or report.interrupted):
        out.print(_totals(report))
    if report.stopped_by is not None:
        print_error(report.stopped_by)
    if report.interrupted:
        errors.print("Interrupted. Every repair shown is complete; run it again for the rest.")


def _skipped_line(reason: str, keys: list[str]) -> Text:
    names = ", ".join(printable(key) for key in keys[:_MAX_NAMES])
    more = ", ..." if len(keys) > _MAX_NAMES else ""
    return Text(f"Skipped {counted(len(keys), 'key')}: {reason} ({names}{more}).")


def _totals(report: DoctorReport) -> Text:
    examined = counted(report.examined, "conversation")
    found = report.repaired + len(report.remaining)
    if not found:
        return Text(f"Examined {examined}: no problems found.", "" if report.exit_code else "green")
    keys = {each.key for each in report.conversations if each.repaired or each.remaining}
    place = f"in {len(keys):,} of {examined}"
    if report.fix:
        of_found = f" of {found:,}" if report.remaining else ""
        return Text(
            f"Repaired {report.repaired:,}{of_found} {noun_for(found, 'problem')} {place}; nothing was deleted.", "bold"
        )
    can_repair = any(finding.repair is not Repair.NONE for finding in report.remaining)
    advice = " Run again with --fix to repair." if can_repair else ""
    return Text.assemble((f"Found {counted(found, 'problem')} {place}; nothing was changed.", "bold"), advice)


def report_as_json(report: DoctorReport) -> str:
    """Return the report as one JSON document; docs/doctor.md describes it."""
    document = {
        "fix": report.fix,
        "key_prefix": report.key_prefix,
        "examined": report.examined,
        "repaired": report.repaired,
        "remaining": len(report.remaining),
        "findings": [
            _finding_as_json(conversation, finding, repaired=repaired)
            for conversation in report.conversations
            for repaired, findings in ((True, conversation.repaired), (False, conversation.remaining))
            for finding in findings
        ],
        "skipped": [{"key": key, "reason": reason} for reason, keys in report.skipped.items() for key in keys],
        "errors": [{"key": each.key, "error": each.error} for each in report.conversations if each.error is not None],
        "stopped_by": report.stopped_by,
        "interrupted": report.interrupted,
    }
    return json.dumps(document, indent=2)


def _finding_as_json(conversation: ConversationReport, finding: Finding, *, repaired: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "key": conversation.key,
        "damage": finding.damage.value,
        "position": finding.position,
        "record_id": None if finding.record_id is None else str(finding.record_id),
        "reason": finding.reason,
        "repair": finding.repair.value,
        "repaired": repaired,
    }
    if finding.damage is Damage.NO_EXPIRY:
        fields["ttl"] = finding.ttl
    if finding.repair in _TO_QUARANTINE:
        fields["quarantine"] = companion_key("quarantine", conversation.key)
    return fields
