"""Replaces all records of a conversation in one atomic step, exactly once even if replies are lost."""

from __future__ import annotations

from chatstash.history.operations.append import Append, replies_along
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.scripts.loading import call_along
from chatstash.history.steps.requests import run_marked_script
from chatstash.rest.ops import Op


def replace_all(name: str, wanted: Append) -> Op[None]:
    """Replace all records by those that are ready to be appended; costs as `Session.replace`.

    Args:
        name: Unique to this call.
        wanted: The new records; none leave an empty conversation.
    """
    key, texts, options = wanted.key, wanted.texts, wanted.options
    marker = companion_key("replace", key, name)
    kept = texts if options.max_stored_messages is None else texts[-options.max_stored_messages :]
    ttl = "" if options.ttl is None else options.ttl
    along = wanted.along.commands
    answer = yield from run_marked_script(
        key, marker, call_along("replace_all", (key, marker), along, IN_FLIGHT_TTL, ttl, *kept)
    )
    if wanted.noting is not None and len(answer) > 2:
        yield from wanted.noting.finish(replies_along(wanted, answer[2:3]))
