"""The calls of the scripts that append."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.frozen import dataclass
from chatstash.history.records.identity import digest_of
from chatstash.history.records.markers import Marker
from chatstash.history.records.places import places_key
from chatstash.history.scripts.loading import call_along
from chatstash.rest.commands import Argument, Command


class TurnSnapshot(NamedTuple):
    """The conversation as a guarded turn read it.

    Attributes:
        length: How many records it had.
        compared: How many of the newest are compared.
        digest: The SHA-1 of those, joined by newlines, newest first.
        max_new_bytes: How many bytes of new records a refusal tells, at most; 0 to read none.
    """

    length: int
    compared: int
    digest: str
    max_new_bytes: int


class Replaced(NamedTuple):
    """The newest records that a guarded turn replaces.

    Attributes:
        by: How scripts find the first of them: `r`, `m` or `b`.
        text: Its id or its bytes.
        aside: The key of the alternatives, where they are put aside.
        name: The name of the alternative.
        ttl: Seconds until the alternatives expire.
    """

    by: str
    text: str
    aside: str
    name: str
    ttl: int


EMPTY = TurnSnapshot(0, 0, digest_of(b""), 0)
"""The snapshot of a conversation without records."""

_NO_TURN = ("",) * 4


@dataclass(frozen=True)
class ScriptedAppend:
    """An append by script.

    Attributes:
        key: The conversation's key.
        ttl: Seconds until the conversation expires; None leaves its expiry as it is.
        most: How many records to keep, which needs a marker; None for all.
        batch: What the ids of the records begin with.
        marker: The marker that makes the append happen once; None for an append that looks for its batch instead.
        snapshot: The conversation must still be as it was read here; None for an append that is no guarded turn.
        along: Commands that go along with it.
        replaces: The records it replaces, which needs a marker and a snapshot; None for none.
        is_settlement: Whether an earlier request of the same append may have been applied.
    """

    key: str
    ttl: int | None
    most: int | None
    batch: str
    marker: Marker | None
    snapshot: TurnSnapshot | None
    along: tuple[Command, ...] = ()
    replaces: Replaced | None = None
    is_settlement: bool = False

    def of_records(self, texts: Sequence[str]) -> Command:
        """Return the call that appends records, oldest first."""
        if self.replaces is not None:
            return self._replacing(self.replaces, (), texts)
        if self.marker is None:
            return self._unmarked(texts)
        keys, marked = (self.key, self.marker.key), (self._ttl, self.marker.value, self.marker.ttl)
        if self.snapshot is None:
            if self.most is None:
                return self._call("append_once", keys, *marked, *texts)
            return self._call("append_bounded", keys, *marked, self.most, *texts)
        if self.most is None:
            return self._call("append_turn_once", keys, *marked, *self.snapshot, *texts)
        return self._call("append_turn_bounded", keys, *marked, *self.snapshot, self.most, *texts)

    def _unmarked(self, texts: Sequence[str]) -> Command:
        if self.snapshot is None:
            return self._call("append_unless_stored", (self.key, places_key(self.key)), self._ttl, self.batch, *texts)
        return self._call("append_turn", (self.key,), self._ttl, *self._batch, *self.snapshot, *texts)

    def of_parts(self, parts: Sequence[str]) -> Command:
        """Return the call that appends the records of staged parts, oldest first, given their keys."""
        if self.replaces is not None:
            return self._replacing(self.replaces, parts, ())
        snapshot = self.snapshot or _NO_TURN
        if self.marker is None:
            return self._call("append_parts", (self.key, *parts), self._ttl, *self._batch, *snapshot)
        keys, marked = (self.key, self.marker.key, *parts), (self._ttl, self.marker.value, self.marker.ttl)
        if self.most is None:
            return self._call("append_parts_once", keys, *marked, *snapshot)
        return self._call("append_parts_bounded", keys, *marked, *snapshot, self.most)

    def _replacing(self, replaces: Replaced, parts: Sequence[str], texts: Sequence[str]) -> Command:
        assert self.marker is not None
        assert self.snapshot is not None
        by, text, aside, name, ttl = replaces
        return self._call(
            "replace_tail", (self.key, self.marker.key, aside, *parts),
            self._ttl, self.marker.value, self.marker.ttl, *self.snapshot, "" if self.most is None else self.most,
            by, text, name, ttl, *texts,
        )  # fmt: skip

    def _call(self, name: str, keys: Sequence[str], *arguments: Argument) -> Command:
        return call_along(name, keys, self.along, *arguments)

    @property
    def _ttl(self) -> Argument:
        return "" if self.ttl is None else self.ttl

    @property
    def _batch(self) -> tuple[Argument, ...]:
        return (self.batch, "1" if self.is_settlement else "")
