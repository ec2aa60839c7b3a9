"""Writes, reads and drops the draft of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.errors import DatabaseError
from chatstash.history.records.drafts import newest_draft
from chatstash.history.records.keys import DRAFT, companion_key
from chatstash.history.records.timed_names import time_of
from chatstash.history.steps.replies import checked_reply
from chatstash.history.values.results import DraftText
from chatstash.rest.commands import Batch, Command, Effect
from chatstash.rest.ops import Op, send

_FIELDS_PER_COMMAND = 2000
"""A script, which may run the commands, can unpack at most 8,000 words."""


def write_draft(key: str, field: str, part: str, ttl: int | None, *, is_first: bool) -> Op[None]:
    """Write a part of a draft; one request and one command, one more to set the expiry, one more for the first part.

    Args:
        key: The conversation's key.
        field: The field of the part.
        part: Its text.
        ttl: Seconds until the draft expires; None to leave the expiry.
        is_first: Whether a new draft begins, in place of one that was left.
    """
    draft = companion_key(DRAFT, key)
    drop: tuple[Command, ...] = (("DEL", draft),) if is_first else ()
    expire: tuple[Command, ...] = () if ttl is None else (("EXPIRE", draft, ttl),)
    yield from _run((*drop, ("HSET", draft, field, part), *expire))


def drop_draft(key: str, fields: Sequence[str]) -> Op[None]:
    """Drop the parts of a draft; one request, one command for each 2,000 parts."""
    yield from _run(dropping(key, fields))


def dropping(key: str, fields: Sequence[str]) -> tuple[Command, ...]:
    """Return the commands that drop the parts of a draft."""
    draft = companion_key(DRAFT, key)
    starts = range(0, len(fields), _FIELDS_PER_COMMAND)
    return tuple(("HDEL", draft, *fields[start : start + _FIELDS_PER_COMMAND]) for start in starts)


def _run(commands: tuple[Command, ...]) -> Op[None]:
    replies = yield from send(Batch(commands, atomic=len(commands) > 1, effect=Effect.IDEMPOTENT))
    for reply in replies.values:
        if isinstance(reply, DatabaseError):
            raise reply


def read_draft(key: str) -> Op[DraftText | None]:
    """Return the draft of a conversation, or None; one request, one command."""
    replies = yield from send(Batch((("HGETALL", companion_key(DRAFT, key)),)))
    reply = replies.values[0]
    if isinstance(reply, DatabaseError):
        raise reply
    words = [checked_reply(bytes, word, Effect.READ).decode() for word in checked_reply(list, reply, Effect.READ)]
    found = newest_draft(dict(zip(words[::2], words[1::2], strict=True)))
    return None if found is None else DraftText(found[1], time_of(found[0]))
