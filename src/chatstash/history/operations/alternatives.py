"""Lists the alternatives of a message, and puts one back in its place."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from chatstash.errors import MessageNotFound, RequestTooLarge
from chatstash.history.operations.contents import entries_of
from chatstash.history.records.alternatives import records_in
from chatstash.history.records.keys import ALTERNATIVES, IN_FLIGHT_TTL, companion_key
from chatstash.history.records.message_id import Named
from chatstash.history.records.record import Entry
from chatstash.history.records.timed_names import is_name
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_marked_script, run_script
from chatstash.history.values.results import EditResult
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op

_log = logging.getLogger("chatstash")

_FILL = 0.7
"""How much of the permitted size of a reply a part of an alternative takes."""

_LEAST_PART = 1000
"""Bytes."""


def list_alternatives(key: str, message: Named, max_bytes: int) -> Op[list[tuple[str, Sequence[Entry]]]]:
    """Return the name and the entries of each alternative of a message, those put aside first coming first."""
    try:
        found = yield from _listed(key, message, "")
    except RequestTooLarge:
        found = []
        for name, size in (yield from _listed(key, message, "1")):
            if (value := (yield from _in_parts(key, name, int(size), int(_FILL * max_bytes)))) is not None:
                found.append((name, value))
    return list(_readable(found, key))


def _readable(found: Iterable[tuple[str, bytes]], key: str) -> Iterator[tuple[str, Sequence[Entry]]]:
    for name, value in found:
        try:
            yield name, entries_of(records_in(value), key)
        except ValueError as error:
            _log.warning("Cannot read the alternative %r of %r: %s. It was left out.", name, key, error)


def _listed(key: str, message: Named, sizes: str) -> Op[list[tuple[str, bytes]]]:
    """Return the name of each alternative, and its value or its size."""
    script = call("list_alternatives", (key, companion_key(ALTERNATIVES, key)), *message.words, sizes)
    answer = yield from run_script(key, script, Effect.READ)
    (found,) = checked_counts(answer, 1, Effect.READ)
    if not found:
        raise MessageNotFound(message.id, key)
    words = [checked_reply(bytes, word, Effect.READ) for word in checked_reply(list, answer[2], Effect.READ)]
    named = ((name.decode("ascii", "replace"), value) for name, value in zip(words[::2], words[1::2], strict=True))
    return sorted((name, value) for name, value in named if is_name(name))


def _in_parts(key: str, name: str, size: int, part: int) -> Op[bytes | None]:
    """Return the value of an alternative that is read in parts; None if it is gone meanwhile."""
    value = b""
    while len(value) < size:
        script = call("read_alternative", (companion_key(ALTERNATIVES, key),), name, len(value) + 1, len(value) + part)
        try:
            answer = yield from run_script(key, script, Effect.READ)
        except RequestTooLarge:
            if part < _LEAST_PART:
                raise
            part //= 2
            continue
        if checked_counts(answer, 1, Effect.READ) == [0]:
            return None
        value += checked_reply(bytes, answer[2], Effect.READ)
    return value


def switch_to(key: str, name: str, alternative: str, aside: str, ttl: int) -> Op[EditResult]:
    """Put the records of an alternative back, and those in their place aside.

    Args:
        key: The conversation's key.
        name: Unique to this call.
        alternative: The alternative.
        aside: The name of the alternative that the present records become.
        ttl: Seconds until alternatives expire.
    """
    keys = (key, companion_key("edit", key, name), companion_key(ALTERNATIVES, key))
    answer = yield from run_marked_script(key, keys[1], call("switch_to", keys, IN_FLIGHT_TTL, alternative, aside, ttl))
    made, _ = checked_counts(answer, 2, Effect.WRITE)
    if not made:
        raise MessageNotFound(alternative, key, "alternative")
    _, _, removed, length = checked_counts(answer, 4, Effect.WRITE)
    return EditResult(removed, length)
