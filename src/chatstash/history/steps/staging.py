"""Stages appends over the size of a request: part by part, under keys that expire, to be moved in one step."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence

from chatstash.errors import Applied, DatabaseError, QuotaExceeded, RequestTooLarge
from chatstash.history.records.keys import companion_key
from chatstash.history.records.sizes import largest_request, parts
from chatstash.history.scripts.loading import COUNT_INDEX, call
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send

TTL = 3600
"""Seconds until staged parts expire."""

_LIMIT_IN_WORDS = r"Limit: (\d{1,18}) bytes"


def lower_limit(error: RequestTooLarge, limit: int, key: str, texts: Sequence[str]) -> int:
    """Return the limit to try next after a refusal, or raise it where smaller requests would not help."""
    text = error.server_text or ""
    if "record size" in text or "key size" in text:
        raise error
    named = re.search(_LIMIT_IN_WORDS, text)
    if named and int(named[1]) < limit:
        return int(named[1])
    if largest_request(key, texts) > limit // 2:
        raise error
    return limit // 2


def stage(key: str, batch: str, texts: Sequence[str], limit: int) -> Op[list[str]]:
    """Store records under separate keys that expire; returns the keys, oldest records first.

    One request and three commands for each part. Readers of the conversation do not see them.
    """
    return (yield from _stage(key, batch, parts(key, texts, limit), _put))


def stage_hex(key: str, batch: str, texts: Sequence[str], limit: int) -> Op[list[str]]:
    """Store records as `stage` does, given in hexadecimal: for records that are not UTF-8."""
    return (yield from _stage(key, batch, parts(key, texts, limit), _put_hex))


def _stage(
    key: str, batch: str, some: Iterable[Sequence[str]], put: Callable[[str, Sequence[str]], Op[None]]
) -> Op[list[str]]:
    staged: list[str] = []
    for part in some:
        staged.append(companion_key("staging", key, batch, str(len(staged))))
        try:
            yield from put(staged[-1], part)
        except (QuotaExceeded, RequestTooLarge):
            # The database may be short of room, and a caller may try again and again.
            yield from _discard(staged)
            raise
    return staged


def _discard(staged: Sequence[str]) -> Op[None]:
    with contextlib.suppress(DatabaseError):  # they expire by themselves
        yield from send(Batch((("DEL", *staged),), effect=Effect.IDEMPOTENT))


def _put(name: str, part: Sequence[str]) -> Op[None]:
    commands = (("DEL", name), ("RPUSH", name, *part), ("EXPIRE", name, TTL))
    yield from _sent(Batch(commands, atomic=True, effect=Effect.IDEMPOTENT))


def _put_hex(name: str, part: Sequence[str]) -> Op[None]:
    script = call("stage_hex", (name,), TTL, *part)
    yield from _sent(Batch((script,), effect=Effect.IDEMPOTENT, command_count_index=COUNT_INDEX))


def _sent(batch: Batch) -> Op[None]:
    try:
        replies = yield from send(batch)
        for reply in replies.values:
            if isinstance(reply, DatabaseError):
                raise reply
    except DatabaseError as error:
        # To the conversation: the staged parts do not belong to it.
        error.applied = Applied.NO
        raise
