"""The report of a migration, as text and as lines of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.text import Text

from chatstash.cli.migrate.report import LEFT, MOVED, ConversationReport, MigrationReport
from chatstash.cli.terminal import counted, errors, out, print_error, printable

_QUIET = ("unchanged", "empty")
_DID = {"created": "imported", "completed": "completed", "merged": "merged"}
_WOULD = {"created": "would be imported", "completed": "would be completed", "merged": "would be merged"}


def print_conversation(done: ConversationReport, *, dry_run: bool) -> None:
    """Print a conversation that was moved, or the reason why not; nothing for one that was there already."""
    if done.status in _QUIET and not done.unreadable:
        return
    line = Text.assemble((printable(done.session_id), "bold"), "  ")
    if done.status in MOVED:
        did = (_WOULD if dry_run else _DID)[done.status]
        line.append(f"{did}: {counted(done.added, 'message')}", "green")
        line.append(f"{_updated(done)} to {printable(done.thread_id)}")
    else:
        line.append(f"{done.status}", "yellow")
        line.append("" if done.error is None else f": {printable(done.error)}")
    out.print(line)
    for record in done.unreadable:
        out.print(Text(f"    record {record.position}: {printable(record.reason)}", "dim"))


def _updated(done: ConversationReport) -> str:
    return f" and {counted(done.updated, 'changed message')}" if done.updated else ""


def print_summary(report: MigrationReport) -> None:
    """Print the totals, and errors on standard error."""
    if report.statuses or not (report.stopped_by or report.interrupted):
        out.print(_totals(report))
    if report.stopped_by is not None:
        print_error(report.stopped_by)
    if report.interrupted:
        errors.print("Interrupted. Each conversation shown is complete; run it again for the rest.")


def _totals(report: MigrationReport) -> Text:
    verb = "Would import" if report.dry_run else "Imported"
    total = f"{verb} {counted(report.messages, 'message')} of {counted(report.moved, 'conversation')}"
    others = [
        f"{report.statuses[status]:,} {status}" for status in (*_QUIET, "skipped", *LEFT) if report.statuses[status]
    ]
    style = "green" if report.exit_code == 0 else ""
    return Text("; ".join([total, ", ".join(others)] if others else [total]) + ".", style)


def conversation_as_json(done: ConversationReport) -> str:
    """Return a conversation as one line of JSON; docs/guides/migration-to-langgraph.md describes it."""
    return json.dumps({"type": "conversation", **asdict(done)})


def summary_as_json(report: MigrationReport) -> str:
    """Return the totals as one line of JSON."""
    fields = {
        "dry_run": report.dry_run,
        "conversations": dict(report.statuses),
        "messages": report.messages,
        "unreadable": report.unreadable,
        "stopped_by": report.stopped_by,
        "interrupted": report.interrupted,
    }
    return json.dumps({"type": "summary", **fields})
