"""The result of a read in a shape, with the matching `omitted` and `cursor`. Pure."""

from __future__ import annotations

from chatstash.history.operations.read import Contents
from chatstash.history.operations.window import kept_system
from chatstash.history.results import END
from chatstash.history.steps.cursors import cursor_before, cursor_within
from chatstash.history.tool_calls.shape import AS_STORED, Shape, shaped


def presented(contents: Contents, shape: Shape, *, keep_system: bool) -> Contents:
    """Return the newest records, or all, in a shape.

    Records left out at the beginning count as omitted, and the cursor leads to them. Records left out between others
    are on no page.

    Args:
        contents: What was read, as stored.
        shape: The shape.
        keep_system: Whether to keep the conversation's first record if it is a system message.
    """
    if shape == AS_STORED:
        return contents
    system = kept_system(contents, keep_system=keep_system)
    kept = [] if system is None else [system]
    read = list(contents.entries)[len(kept) :]
    given = shaped(read, shape)
    omitted = contents.omitted + given.left_out
    cursor = contents.cursor
    if given.left_out:
        cursor = cursor_before(read, given.left_out, contents.length) or END
    return contents._replace(
        entries=[*kept, *given.entries], omitted=omitted, cursor=cursor, system_kept=bool(kept), shape=shape
    )


def presented_page(contents: Contents, shape: Shape) -> Contents:
    """Return a page of older records in a shape.

    Args:
        contents: What was read, as stored.
        shape: The shape.
    """
    if shape == AS_STORED:
        return contents
    entries = list(contents.entries)
    given = shaped(entries, shape)
    if not given.left_out or given.left_out == len(entries):
        return contents._replace(entries=given.entries, shape=shape)
    cursor = cursor_within(entries, given.left_out, contents.omitted, contents.length)
    omitted = contents.omitted + given.left_out
    return contents._replace(entries=given.entries, omitted=omitted, cursor=cursor, shape=shape)
