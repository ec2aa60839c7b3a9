"""The stored form of a draft: a reply that is being written.

It is a hash beside the conversation, which other readers therefore do not see. Each field holds a part of the text; its
name says which writer wrote it and how many characters come before it. So a part that is sent again does no harm. The
name of a writer tells when it began.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"([0-9a-f]{13}-\w+)\.([0-9]{1,12})")

TTL = 3600
"""Seconds after which a draft expires that nobody continues."""


def field_of(writer: str, position: int) -> str:
    """Return the field of the part that begins after `position` characters."""
    return f"{writer}.{position}"


def newest_draft(fields: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the writer that began last, and its text up to the first gap; None where there is no draft."""
    parts: dict[tuple[str, int], str] = {}
    for field, part in fields.items():
        if (match := _FIELD.fullmatch(field)) is not None:
            parts[match[1], int(match[2])] = part
    writers = [writer for writer, position in parts if position == 0]
    if not writers:
        return None
    newest, text = max(writers), ""
    while (newest, len(text)) in parts and parts[newest, len(text)]:
        text += parts[newest, len(text)]
    return newest, text
