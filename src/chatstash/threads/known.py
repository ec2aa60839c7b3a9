"""Remembers which values of recent checkpoints are stored, so that the next checkpoint stores only what is new."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from chatstash.rest.fork import register_fork_reset
from chatstash.threads.layout import Place
from chatstash.threads.manifest import Manifest

MAX_CHECKPOINTS = 256
MAX_GROUPS = 100_000
"""About 12 MB."""


class KnownValue(NamedTuple):
    """A stored value of a channel.

    Attributes:
        version: The channel's version.
        kind: How the groups are joined.
        note: What the adapter notes in the header.
        manifest: The groups.
        digests: The digest of each group, in the order of the manifest's references.
    """

    version: object
    kind: str
    note: str
    manifest: Manifest
    digests: tuple[bytes, ...]


class KnownCheckpoint(NamedTuple):
    """The stored values of a checkpoint, by channel, and about how many bytes its thread has stored."""

    values: Mapping[str, KnownValue]
    stored_bytes: int = 0

    @property
    def group_count(self) -> int:
        """How many groups it remembers."""
        return sum(len(value.digests) for value in self.values.values())


class KnownCheckpoints:
    """The most recently used checkpoints of all threads; safe for threads and forks."""

    def __init__(self) -> None:
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Forget everything; a lock may have been held when the process forked."""
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, Place], KnownCheckpoint] = OrderedDict()
        self._groups = 0

    def get(self, thread: str, place: Place) -> KnownCheckpoint | None:
        """Return a checkpoint, if it is known."""
        with self._lock:
            known = self._known.get((thread, place))
            if known is not None:
                self._known.move_to_end((thread, place))
            return known

    def put(self, thread: str, place: Place, known: KnownCheckpoint) -> None:
        """Remember a checkpoint."""
        with self._lock:
            self._remove((thread, place))
            self._known[thread, place] = known
            self._groups += known.group_count
            while len(self._known) > MAX_CHECKPOINTS or (self._groups > MAX_GROUPS and len(self._known) > 1):
                self._remove(next(iter(self._known)))

    def forget(self, thread: str) -> None:
        """Forget the checkpoints of a thread."""
        with self._lock:
            for key in [key for key in self._known if key[0] == thread]:
                self._remove(key)

    def _remove(self, key: tuple[str, Place]) -> None:
        if (known := self._known.pop(key, None)) is not None:
            self._groups -= known.group_count
