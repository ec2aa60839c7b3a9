"""Applies a view to the contents of a read, and adapts `omitted` and `cursor` to it."""

from __future__ import annotations

from chatstash.history.operations.contents import Contents
from chatstash.history.operations.window import system_message_in
from chatstash.history.steps.cursors import cursor_before, cursor_within
from chatstash.history.tool_calls.view import AS_STORED, View, apply_view
from chatstash.history.values.results import END


def in_view(contents: Contents, view: View, *, keep_system: bool) -> Contents:
    """Return the newest records, or all, in a view.

    Records that the view leaves out at the beginning count as omitted, and the cursor leads to them. Records that it
    leaves out between others are on no page.
    """
    if view == AS_STORED:
        return contents
    system = system_message_in(contents, keep_system=keep_system)
    kept = [] if system is None else [system]
    read = list(contents.entries)[len(kept) :]
    given = apply_view(read, view)
    omitted = contents.omitted + given.omitted
    cursor = contents.cursor
    if given.omitted:
        cursor = cursor_before(read, given.omitted, contents.length) or END
    return contents._replace(
        entries=[*kept, *given.entries], omitted=omitted, cursor=cursor, system_kept=bool(kept), view=view
    )


def page_in_view(contents: Contents, view: View) -> Contents:
    """Return a page of older records in a view."""
    if view == AS_STORED:
        return contents
    entries = list(contents.entries)
    given = apply_view(entries, view)
    if not given.omitted or given.omitted == len(entries):
        return contents._replace(entries=given.entries, view=view)
    cursor = cursor_within(entries, given.omitted, contents.omitted, contents.length)
    omitted = contents.omitted + given.omitted
    return contents._replace(entries=given.entries, omitted=omitted, cursor=cursor, view=view)
