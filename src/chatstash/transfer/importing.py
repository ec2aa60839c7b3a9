"""Imports conversations from JSON Lines."""

from __future__ import annotations

from typing import Literal, NamedTuple

from chatstash.calls import Call, Calls, arun, run
from chatstash.history.operations.contents import entries_of
from chatstash.history.records.lines import Header
from chatstash.history.store import Store
from chatstash.transfer.conversations import Conversation, Grouping
from chatstash.transfer.lines import AsyncLines, Lines, LineSource, NumberedLine
from chatstash.transfer.report import ImportReport, Skipped
from chatstash.transfer.storing import IfExists, checked_id, stored

OnMalformed = Literal["refuse", "skip"]


def import_jsonl(
    store: Store,
    lines: Lines,
    *,
    session_id: str | None = None,
    user_id: str | None = None,
    if_exists: IfExists = "raise",
    on_malformed: OnMalformed = "refuse",
) -> ImportReport:
    """Import the conversations of `export_jsonl`, or of `Store.export_user`.

    Each conversation is stored whole or not at all, exactly once, with the bytes, ids and times that its records had.
    It must be new: a conversation that has records is never changed. An import that was interrupted can be repeated
    with `if_exists="skip"`. Needs memory for one conversation. For each, costs what `Session.restore` costs.

    Args:
        store: The store to import into.
        lines: The lines, with or without line ends: an open file, a list, or an export that streams.
        session_id: Another session id than the exported one; for lines of one conversation.
        user_id: Another user than the exported one, for all conversations.
        if_exists: What to do if a conversation has records: `raise`, or `skip` it and report that.
        on_malformed: What to do with a conversation that has a malformed line, or lacks one: `refuse` to import it, or
            `skip` the line. Either is reported.

    Returns:
        What was imported, what was skipped and why, and the malformed lines with their numbers.

    Raises:
        ValueError: An argument is invalid; nothing was sent.
        ConversationExists: A conversation has records. Those before it were imported: see its `report`.
        DatabaseError: Any other failure. Conversations before it were imported. Importing again is safe.
    """
    return run(_import(store, LineSource(lines), _checked(session_id, user_id, if_exists, on_malformed)))


async def aimport_jsonl(
    store: Store,
    lines: AsyncLines,
    *,
    session_id: str | None = None,
    user_id: str | None = None,
    if_exists: IfExists = "raise",
    on_malformed: OnMalformed = "refuse",
) -> ImportReport:
    """Import as `import_jsonl` does, without blocking the event loop. The lines may be an asynchronous iterable."""
    return await arun(_import(store, LineSource(lines), _checked(session_id, user_id, if_exists, on_malformed)))


class _Options(NamedTuple):
    """How to import."""

    session_id: str | None
    user_id: str | None
    if_exists: IfExists
    on_malformed: OnMalformed


def _checked(session_id: str | None, user_id: str | None, if_exists: IfExists, on_malformed: OnMalformed) -> _Options:
    if if_exists not in ("raise", "skip"):
        raise ValueError(f"if_exists must be 'raise' or 'skip', not {if_exists!r}")
    if on_malformed not in ("refuse", "skip"):
        raise ValueError(f"on_malformed must be 'refuse' or 'skip', not {on_malformed!r}")
    return _Options(checked_id("session_id", session_id), checked_id("user_id", user_id), if_exists, on_malformed)


def _import(store: Store, source: LineSource, options: _Options) -> Calls[ImportReport]:
    report, grouping = ImportReport(), Grouping()
    line: NumberedLine | None
    while (line := (yield Call(source, "next_line"))) is not None:
        if (ended := grouping.add(line)) is not None:
            yield from _import_one(store, ended, options, report)
    if grouping.current is not None:
        yield from _import_one(store, grouping.current, options, report)
    return report


def _import_one(store: Store, found: Conversation, options: _Options, report: ImportReport) -> Calls[None]:
    report.errors += found.all_problems()
    if found.header is None:
        return
    session_id = options.session_id or found.header.session_id
    if reason := _why_not(found, options):
        report.skipped.append(Skipped(session_id, reason))
        return
    yield from stored(store, _incoming(found.header, options), entries_of(found.stored, ""), options.if_exists, report)


def _incoming(header: Header, options: _Options) -> Header:
    return header._replace(
        session_id=options.session_id or header.session_id, user_id=options.user_id or header.user_id
    )


def _why_not(found: Conversation, options: _Options) -> str | None:
    if options.session_id is not None and found.ordinal > 1:
        return "it is not the first conversation, and session_id= names only one"
    if found.problems and options.on_malformed == "refuse":
        return "it has malformed lines"
    return None if found.stored else "it has no records"
