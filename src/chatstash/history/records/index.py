"""The stored form of a session index: its keys, fields and values.

Each user has one index, and so have all sessions without a user:

- Two sorted sets of session ids, scored by the time of the last append in microseconds since the epoch. One is for
  stores without a ttl; the other expires with the last of its sessions.
- A hash. For each session it has up to four fields, which expire with the conversation: `s`, when it began and its
  automatic title; `c`, the same without a title; `t`, the title that was set; `m`, its metadata. The session id follows
  the letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chatstash.history.records.keys import COMPANION_PREFIX
from chatstash.history.records.message_types import HUMAN_TYPES
from chatstash.history.records.record import Record
from chatstash.rest.plan import checked_size

BEGUN, BEGUN_UNTITLED, TITLE, METADATA = "s", "c", "t", "m"
FIELDS = BEGUN + BEGUN_UNTITLED + TITLE + METADATA

MAX_AUTOMATIC_TITLE = 80
MAX_TITLE = 1000
"""Characters."""

LASTING_INDEX = COMPANION_PREFIX + "sessions:"
EXPIRING_INDEX = COMPANION_PREFIX + "sessions-expiring:"
INFO_INDEX = COMPANION_PREFIX + "session-info:"


_TIME = re.compile(r"[0-9]{1,15}")


class IndexKeys(NamedTuple):
    """The keys of one index.

    Attributes:
        lasting: The sorted set of sessions in stores without a ttl.
        expiring: The sorted set of the others.
        info: The hash.
    """

    lasting: str
    expiring: str
    info: str


def index_keys(owner: str) -> IndexKeys:
    """Return the keys of the index of an owner (`records.keys.owner_of`)."""
    checked_size(EXPIRING_INDEX + owner, "key_prefix and user_id")
    return IndexKeys(LASTING_INDEX + owner, EXPIRING_INDEX + owner, INFO_INDEX + owner)


def fields_of(session_id: str) -> tuple[str, ...]:
    """Return the fields of a session in the hash."""
    return tuple(letter + session_id for letter in FIELDS)


def beginning(created_ms: int, title: str) -> str:
    """Return the stored form of a session's beginning."""
    return f"{created_ms} {title}" if title else str(created_ms)


class StoredInfo(NamedTuple):
    """The decoded fields of a session.

    Attributes:
        created_ms: When it began, in milliseconds since the epoch.
        title: Its title; the one that was set, or the automatic one.
        metadata: Its metadata.
    """

    created_ms: int
    title: str | None
    metadata: dict[str, Any]


def stored_info(values: Iterable[object]) -> StoredInfo | None:
    """Decode the fields of a session, given their values in the order of `FIELDS`; None if it has expired.

    What another program wrote there, and cannot be decoded, hides no session: its time is 0, its metadata empty.
    """
    begun, untitled, title, metadata = map(_text, values)
    began = [each.partition(" ") for each in (begun, untitled) if each is not None]
    if not began:
        return None
    created = min(int(time) if _TIME.fullmatch(time) else 0 for time, _, _ in began)
    return StoredInfo(created, title or began[0][2] or None, _metadata(metadata) if metadata else {})


def _metadata(text: str) -> dict[str, Any]:
    # orjson refuses NaN and half a surrogate pair, and makes floats of long numbers.
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else None


def automatic_title(records: Iterable[Record]) -> str:
    """Return the beginning of the first question among records, on one line; empty where there is none."""
    for record in records:
        if record.type in HUMAN_TYPES and (text := _text_of(record.data)):
            return text
    return ""


def _text_of(data: Mapping[str, Any]) -> str:
    content = data.get("content")
    parts = [content] if isinstance(content, str) else content if isinstance(content, list) else []
    texts = [part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, (str, dict))]
    # A text may be megabytes long.
    line = " ".join(" ".join(text[: 4 * MAX_AUTOMATIC_TITLE] for text in texts if isinstance(text, str)).split())
    shown = "".join(char for char in line if char.isprintable())
    return shown if len(shown) <= MAX_AUTOMATIC_TITLE else shown[: MAX_AUTOMATIC_TITLE - 1].rstrip() + "…"
