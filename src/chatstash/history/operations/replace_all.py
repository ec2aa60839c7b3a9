"""Replaces all records of a conversation in one atomic step, exactly once even if replies are lost."""

from __future__ import annotations

from collections.abc import Sequence

from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.scripts.loading import call
from chatstash.history.steps.requests import run_marked_script
from chatstash.history.values.options import Options
from chatstash.rest.ops import Op


def replace_all(key: str, name: str, texts: Sequence[str], options: Options) -> Op[None]:
    """Replace all records; one request and five commands, six with a ttl.

    Args:
        key: The conversation's key.
        name: Unique to this call.
        texts: The new records, oldest first.
        options: Say the ttl, and how many records to keep.
    """
    marker = companion_key("replace", key, name)
    kept = texts if options.max_stored_messages is None else texts[-options.max_stored_messages :]
    ttl = "" if options.ttl is None else options.ttl
    script = call("replace_all", (key, marker), IN_FLIGHT_TTL, ttl, *kept)
    yield from run_marked_script(key, marker, script)
