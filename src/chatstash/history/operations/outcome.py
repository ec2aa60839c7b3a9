"""Checks whether a write whose reply was lost was applied."""

from __future__ import annotations

from typing import NamedTuple

from chatstash.errors import Outcome, OutcomeUnknown
from chatstash.history.records.keys import IN_FLIGHT_TTL, checked_idempotency_key
from chatstash.history.records.markers import MarkerValue, marker_key, parse_marker
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_counts
from chatstash.history.steps.requests import run_script
from chatstash.history.values.options import Options
from chatstash.rest.commands import Effect
from chatstash.rest.ops import Op


class UnresolvedWrite(NamedTuple):
    """A write whose reply was lost.

    Attributes:
        batch: What the ids of its records begin with; empty where it appends none, or the ids are unknown.
        marker: The key of its marker, or None.
        digest: The digest that its marker holds; empty where any will do.
        must_cancel: Whether to cancel it if it is not stored, so that a late arrival does nothing.
    """

    batch: str = ""
    marker: str | None = None
    digest: str = ""
    must_cancel: bool = False


def unresolved_write(key: str, lost: OutcomeUnknown | str, options: Options) -> UnresolvedWrite:
    """Return the write that an error or an idempotency key stands for."""
    if isinstance(lost, str):
        return UnresolvedWrite(marker=marker_key(key, checked_idempotency_key(lost)))
    if not isinstance(lost, OutcomeUnknown):
        raise ValueError(f"check_outcome takes an idempotency key or an OutcomeUnknown, not {lost!r}")
    if lost.key != key:
        raise ValueError(
            f"this error belongs to the conversation {lost.key!r}, not to {key!r}: "
            "ask the history or session that raised it"
        )
    return _unresolved(lost, options)


def _unresolved(error: OutcomeUnknown, options: Options) -> UnresolvedWrite:
    batch = str(error.record_ids[0]).partition(".")[0] if error.record_ids else ""
    must_cancel = options.is_strict and bool(batch) and error.marker is not None
    return UnresolvedWrite(batch, error.marker, error.digest, must_cancel)


def check_outcome(key: str, write: UnresolvedWrite, *, may_still_arrive: bool) -> Op[Outcome]:
    """Tell the outcome of a write; one request, at least two commands.

    A record that others trimmed or cleared since counts as not stored, unless the write has a marker.
    """
    if write.marker is None and not write.batch:
        # A clear without a marker leaves nothing to look for.
        return Outcome.STILL_POSSIBLE
    keys = (key,) if write.marker is None else (key, write.marker)
    script = call("check_outcome", keys, write.batch, IN_FLIGHT_TTL if write.must_cancel else "")
    answer = yield from run_script(key, script, Effect.IDEMPOTENT)
    (found,) = checked_counts(answer, 1, Effect.IDEMPOTENT)
    held = answer[2] if len(answer) > 2 else None
    if isinstance(held, bytes) and not _is_of(write, parse_marker(held)):
        return Outcome.NOT_STORED
    if found:
        return Outcome.STORED
    return Outcome.STILL_POSSIBLE if may_still_arrive and not write.must_cancel else Outcome.NOT_STORED


def _is_of(write: UnresolvedWrite, held: MarkerValue) -> bool:
    """Tell whether a write set the marker that holds this, and was not called off."""
    return not held.is_cancelled and write.digest in ("", held.digest)
