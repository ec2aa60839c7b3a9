"""Scans the keys of a database for conversations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from chatstash.calls import Call, Calls, Streamed
from chatstash.history.operations import scan
from chatstash.history.operations.scan import DatabaseSize, ScanPages, Wanted
from chatstash.history.records.keys import COMPANION_PREFIX, owned
from chatstash.history.runner import Work
from chatstash.history.sessions import Sessions
from chatstash.history.values.sessions import OnEstimate, OnProgress, Progress, ScanEstimate, ScannedSession
from chatstash.rest.commands import Cost
from chatstash.rest.ops import Op

_log = logging.getLogger("chatstash")


def running(store: Sessions, name: str, op: Op[Any], *, writes: bool = False) -> Call:
    """Return the call that runs an operation, which is about no single conversation."""
    policy = store.options.retry_policy
    return Call(store, "run", (Work(name, op, policy.idempotent if writes else policy.read, ""),))


class Scan:
    """One or more scans of all keys, side by side.

    Args:
        store: The store.
        wanted: What to look for.
        on_progress: Called after each page.

    Attributes:
        cost: What its requests cost so far.
        found: How many conversations were dealt with, as the workflow says.
    """

    def __init__(self, store: Sessions, wanted: Sequence[Wanted], on_progress: OnProgress | None = None) -> None:
        self.cost = Cost()
        self.found = 0
        self._store = store
        self._cursors = dict.fromkeys(wanted, "0")
        self._on_progress = on_progress
        self._scanned = 0
        self._total = 0

    def estimate(self) -> Calls[ScanEstimate]:
        """Tell, and log, what the scan costs."""
        size: DatabaseSize = yield running(self._store, "scan", scan.database_size())
        self.cost += size.cost
        self._total, estimate = size.keys, size.estimate
        _log.info(
            "Scanning the %d keys of the database, in about %d requests of %d commands each.",
            estimate.keys, estimate.requests, len(self._cursors),
        )  # fmt: skip
        return estimate

    @property
    def is_over(self) -> bool:
        """Whether all keys were looked at."""
        return not self._cursors

    def next_keys(self) -> Calls[list[str]]:
        """Return some keys; a key may come more than once. Keys that are not UTF-8 are left out."""
        pages: ScanPages = yield running(self._store, "scan", scan.scan_all(self._cursors))
        self.cost += pages.cost
        self._cursors = {wanted: page.cursor for wanted, page in pages.pages.items() if page.cursor is not None}
        self._scanned += scan.KEYS_PER_SCAN
        return [text for page in pages.pages.values() for key in page.keys if (text := _text(key)) is not None]

    def report(self) -> None:
        """Tell how far it is."""
        if self._on_progress is not None:
            scanned = max(self._scanned, self._total) if self.is_over else min(self._scanned, self._total)
            self._on_progress(Progress(scanned, self._total, self.found))


def _text(key: bytes) -> str | None:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def scan_sessions(store: Sessions, match: str, on_estimate: OnEstimate | None) -> Streamed[ScannedSession]:
    """Yield the conversations under the store's prefix, each once."""
    scanning = Scan(store, [Wanted(scan.literal(store.key_prefix) + match, lists_only=True)])
    estimate = yield from scanning.estimate()
    if on_estimate is not None:
        on_estimate(estimate)
    seen: set[str] = set()
    while not scanning.is_over:
        for key in (yield from scanning.next_keys()):
            named = owned(key, store.key_prefix)
            if named is not None and key not in seen and not key.startswith(COMPANION_PREFIX):
                seen.add(key)
                yield ScannedSession(named.session_id, named.user_id, key)
