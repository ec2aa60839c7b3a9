"""What the doctor's round came to, for a terminal and as JSON.

Keys and reasons may hold what others stored: they reach the terminal as plain text, without control characters.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from chatstash.cli.rounds import Report, Visit
from chatstash.history.doctor.diagnosis import Damage, Finding, Repair
from chatstash.history.records.keys import companion_key

_WOULD = {
    Repair.QUARANTINE: "would be moved to quarantine",
    Repair.TAKE_OUT: "would be moved to quarantine; the rest of the message would stay",
    Repair.INSERT_RESULT: "a result that says there is none would be inserted",
    Repair.SET_EXPIRY: "would expire in {}",
    Repair.NONE: "left as it is",
}
_DONE = {
    Repair.QUARANTINE: "moved to quarantine",
    Repair.TAKE_OUT: "moved to quarantine; the rest of the message stays",
    Repair.INSERT_RESULT: "a result that says there is none was inserted",
    Repair.SET_EXPIRY: "expires in {}",
}
_LEFT = {Repair.NONE: "left as it is"}
_INDENT = 4


def clean(text: str) -> str:
    """Return text that a terminal shows and does not obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_visit(console: Console, visit: Visit, *, fix: bool) -> None:
    """Print what was found in a conversation and what was done, or would be; nothing where there is nothing to say."""
    if not (visit.repaired or visit.remaining):
        return
    count = "" if visit.records is None else f"  {_count(visit.records, 'record')}"
    console.print(Text.assemble((clean(visit.key), "bold"), (count, "dim")))
    lines = [(finding, _DONE[finding.repair], "green") for finding in visit.repaired]
    what_now = {**dict.fromkeys(Repair, "not repaired"), **_LEFT} if fix else _WOULD
    lines += [(finding, what_now[finding.repair], "yellow") for finding in visit.remaining]
    width = max(len(_place(finding)) for finding, *_ in lines)
    for finding, what, style in sorted(lines, key=lambda line: _order(line[0])):
        console.print(_described(finding, what, style, width))
    if visit.moved:
        console.print(Text(f"{'':{_INDENT}}quarantine: {companion_key('quarantine', visit.key)}", "dim"))
    console.print()


def _described(finding: Finding, what: str, style: str, width: int) -> Text:
    rid = f"  {finding.record_id}" if finding.record_id else ""
    line = Text(" " * _INDENT)
    line.append(f"{_place(finding):>{width}}", "cyan")
    line.append(f"  {clean(finding.reason)}")
    line.append(f"{rid}\n", "dim")
    line.append(f"{'':{_INDENT + width + 2}}{what.format(_duration(finding.expiry or 0))}", style)
    return line


def _place(finding: Finding) -> str:
    if finding.position is not None:
        return f"{finding.position}"
    return "expiry" if finding.damage is Damage.NO_EXPIRY else "key"


def _order(finding: Finding) -> int:
    return -1 if finding.position is None else finding.position


def print_report(out: Console, errors: Console, report: Report) -> None:
    """Print the sum, and on standard error what went wrong."""
    for visit in report.visits:
        if visit.error is not None:
            errors.print(Text.assemble((f"{clean(visit.key)}: ", "bold red"), clean(visit.error)))
    for key in report.missing:
        errors.print(Text.assemble((f"{clean(key)}: ", "bold red"), "no such conversation."))
    for reason, count in report.skipped.items():
        out.print(Text(f"Left out: {_count(count, 'key')} ({reason}).", "dim"))
    if report.visits or not (report.stopped_by or report.interrupted):
        out.print(_sum(report))
    if report.stopped_by is not None:
        errors.print(Text.assemble(("chatstash: ", "red"), clean(report.stopped_by)))
    if report.interrupted:
        errors.print("Interrupted. What was done is complete; run it again for the rest.")


def _sum(report: Report) -> Text:
    of_all = _count(report.conversations, "conversation")
    remaining, repaired = report.remaining, report.repaired
    if not remaining and not repaired:
        failed = report.missing or any(visit.error for visit in report.visits)
        return Text(f"{of_all} examined, nothing found.", "" if failed else "green")
    text = Text()
    if repaired:
        text.append(f"{_count(repaired, 'finding')} repaired{', ' if remaining else ' '}", "bold green")
    if remaining:
        count = f"{len(remaining):,}" if repaired else _count(len(remaining), "finding")
        text.append(f"{count}{' left, ' if repaired else ' left ' if report.fix else ' '}", "bold")
    text.append(f"in {report.damaged:,} of {of_all}.", "bold")
    if repaired:
        text.append(" Nothing was deleted.")
    if not report.fix:
        repairable = any(finding.repair is not Repair.NONE for finding in remaining)
        text.append(" Nothing was changed." + (" Run it again with --fix to repair." if repairable else ""))
    return text


def report_as_json(report: Report) -> str:
    """Return the whole report as one JSON document; docs/doctor.md describes it."""
    findings = [
        _finding_as_json(visit, finding, repaired=repaired)
        for visit in report.visits
        for repaired, listed in ((True, visit.repaired), (False, visit.remaining))
        for finding in listed
    ]
    document = {
        "fix": report.fix,
        "key_prefix": report.prefix,
        "conversations": report.conversations,
        "missing": report.missing,
        "findings": findings,
        "repaired": report.repaired,
        "remaining": len(report.remaining),
        "skipped": dict(report.skipped),
        "errors": [{"key": visit.key, "error": visit.error} for visit in report.visits if visit.error is not None],
        "stopped_by": report.stopped_by,
        "interrupted": report.interrupted,
    }
    return json.dumps(document, indent=2)


def _finding_as_json(visit: Visit, finding: Finding, *, repaired: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "key": visit.key,
        "damage": finding.damage.value,
        "position": finding.position,
        "record_id": None if finding.record_id is None else str(finding.record_id),
        "reason": finding.reason,
        "repair": finding.repair.value,
        "repaired": repaired,
    }
    if finding.damage is Damage.NO_EXPIRY:
        fields["expiry"] = finding.expiry
    if finding.repair in {Repair.QUARANTINE, Repair.TAKE_OUT}:
        fields["quarantine"] = companion_key("quarantine", visit.key)
    return fields


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _duration(seconds: int) -> str:
    """Return seconds as a person says them: `3600 s (1 hour)`."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds} s (about {_count(round(seconds / length), unit)})"
    return f"{seconds} s"
