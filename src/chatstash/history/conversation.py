"""The operations of one conversation, shared by all adapters."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from chatstash.errors import Outcome, OutcomeUnknown, UnstorableMessage
from chatstash.history.cache.cache import ReadCache
from chatstash.history.cache.snapshot import Known
from chatstash.history.operations import append as appends
from chatstash.history.operations import clear as clears
from chatstash.history.operations import outcome as outcomes
from chatstash.history.operations import read as reads
from chatstash.history.operations import window as windows
from chatstash.history.operations.page import read_before
from chatstash.history.operations.presenting import presented, presented_page
from chatstash.history.operations.read import Contents
from chatstash.history.operations.stored_for import stored_for
from chatstash.history.operations.token_window import read_fitting
from chatstash.history.options import Options
from chatstash.history.records.generation import appended_anew
from chatstash.history.records.keys import checked_idempotency_key, checked_key
from chatstash.history.records.record import RANDOM_BYTES, Record, encode, record_ids
from chatstash.history.results import END, AppendResult, ClearResult
from chatstash.history.selection import Fitting, Page, Selection, Wanted, Whole, Window, selection_of
from chatstash.history.steps.costs import with_cost
from chatstash.history.steps.expiry import SeenLists, expiring_lists_only
from chatstash.rest.database import Database
from chatstash.rest.limits import Budget, is_number
from chatstash.rest.ops import Op

T = TypeVar("T")

LONGEST_IN_FLIGHT = 60.0
"""Seconds after which a request that has not shown its effect is taken to be lost."""

_seen_in: WeakKeyDictionary[Database, SeenLists] = WeakKeyDictionary()


class Conversation:
    """One conversation at one key. What `Session`, and the classes of other frameworks, show to their callers.

    What each method does, costs and raises is said there. Holds no connection of its own; safe to share between threads
    and event loops.

    Args:
        database: The database it is in.
        key: Its key.
        options: How it is read and written.
        cache: What keeps what was read, if anything does.

    Raises:
        ValueError: The key cannot be one.
    """

    def __init__(self, database: Database, key: str, options: Options, cache: ReadCache | None = None) -> None:
        self.key = checked_key(key)
        self.options = options
        self.database = database
        self._cache = cache

    @property
    def _seen(self) -> SeenLists:
        return _seen_in.setdefault(self.database, SeenLists())

    @property
    def sync_token(self) -> str | None:
        """What makes a read see the writes before it; can be set."""
        return self.database.sync_token_of(self.key)

    @sync_token.setter
    def sync_token(self, token: str | None) -> None:
        self.database.set_sync_token(self.key, token)

    def read(self, wanted: Selection | None = None) -> Contents:
        """Read it; the caller decides about records that cannot be read."""
        return self._run("read", self._reading(wanted), self.options.retry_policy.read)

    async def aread(self, wanted: Selection | None = None) -> Contents:
        """Read as `read` does, without blocking the event loop."""
        return await self._arun("read", self._reading(wanted), self.options.retry_policy.read)

    def count(self) -> int:
        """Count its records."""
        return self._run("count", windows.count(self.key), self.options.retry_policy.read)

    async def acount(self) -> int:
        """Count as `count` does, without blocking the event loop."""
        return await self._arun("count", windows.count(self.key), self.options.retry_policy.read)

    def append(self, records: Iterable[Record], idempotency_key: str | None = None) -> AppendResult:
        """Append records, all or none, and once."""
        wanted = self.prepared(records, idempotency_key)
        return self._run("append", self._appending(wanted, appends.append(wanted)), self.options.retry_policy.append)

    async def aappend(self, records: Iterable[Record], idempotency_key: str | None = None) -> AppendResult:
        """Append as `append` does, without blocking the event loop."""
        wanted = self.prepared(records, idempotency_key)
        return await self._arun(
            "append", self._appending(wanted, appends.append(wanted)), self.options.retry_policy.append
        )

    def append_unless_changed(self, records: Iterable[Record], read: Contents) -> AppendResult:
        """Append records if nobody changed it since it was read; else raises `ConcurrentTurn`."""
        wanted = self.prepared(records)
        op = self._appending(wanted, appends.append_unless_changed(wanted, read))
        return self._run("guarded_append", op, self.options.retry_policy.append)

    async def aappend_unless_changed(self, records: Iterable[Record], read: Contents) -> AppendResult:
        """Append as `append_unless_changed` does, without blocking the event loop."""
        wanted = self.prepared(records)
        op = self._appending(wanted, appends.append_unless_changed(wanted, read))
        return await self._arun("guarded_append", op, self.options.retry_policy.append)

    def clear(self) -> ClearResult:
        """Delete it, once."""
        return self._run("clear", self._clearing(), self.options.retry_policy.idempotent)

    async def aclear(self) -> ClearResult:
        """Delete it as `clear` does, without blocking the event loop."""
        return await self._arun("clear", self._clearing(), self.options.retry_policy.idempotent)

    def check_outcome(self, lost: OutcomeUnknown | str, in_flight_seconds: float) -> Outcome:
        """Tell the outcome of a write whose reply was lost."""
        return self._run("check_outcome", self._settling(lost, in_flight_seconds), self.options.retry_policy.idempotent)

    async def acheck_outcome(self, lost: OutcomeUnknown | str, in_flight_seconds: float) -> Outcome:
        """Tell the outcome of a write as `check_outcome` does, without blocking the event loop."""
        return await self._arun(
            "check_outcome", self._settling(lost, in_flight_seconds), self.options.retry_policy.idempotent
        )

    def prepared(self, records: Iterable[Record], idempotency_key: str | None = None) -> appends.Append:
        """Return records ready to be appended, each with a new id; raises what can be before anything is sent."""
        if isinstance(records, (Record, str, bytes, dict)) or not isinstance(records, Iterable):
            raise UnstorableMessage(f"append takes a list of records, not a {type(records).__name__}", index=None)
        kept = list(records)
        most = self.options.max_stored_messages
        if most is not None and len(kept) > most:
            raise ValueError(f"an append of {len(kept)} messages is over max_stored_messages, {most}; nothing was sent")
        ids = record_ids(len(kept), time_ms=time.time_ns() // 1_000_000, randomness=secrets.token_bytes(RANDOM_BYTES))
        texts = [
            encode(appended_anew(record, rid) if isinstance(record, Record) else record, index=index)
            for index, (record, rid) in enumerate(zip(kept, ids, strict=True))
        ]
        if idempotency_key is None:
            return appends.Append(self.key, texts, ids, self.options)
        name, digest = checked_idempotency_key(idempotency_key), appends.digest_of_records(kept)
        return appends.Append(self.key, texts, ids, self.options, name, digest)

    def stored_for(self, idempotency_key: str) -> list[Record] | None:
        """Return the records that were appended with an idempotency key; None where it was not used."""
        return self._run("stored_for", stored_for(self.key, idempotency_key), self.options.retry_policy.read)

    async def astored_for(self, idempotency_key: str) -> list[Record] | None:
        """Return records as `stored_for` does, without blocking the event loop."""
        return await self._arun("stored_for", stored_for(self.key, idempotency_key), self.options.retry_policy.read)

    def _run(self, name: str, op: Op[T], budget: Budget) -> T:
        return self.database.run(name, op, self.key, budget)

    async def _arun(self, name: str, op: Op[T], budget: Budget) -> T:
        return await self.database.arun(name, op, self.key, budget)

    def _reading(self, wanted: Selection | None) -> Op[Contents]:
        selected = self._selected(wanted or selection_of(Wanted(), self.options))
        return with_cost(expiring_lists_only(selected, self.key, self._seen))

    def _selected(self, wanted: Selection) -> Op[Contents]:
        match wanted:
            case Page(before=before, limit=limit, shape=shape) if before == END:
                return (yield from self._selected(Window(limit, shape=shape)))
            case Page() as page:
                return presented_page((yield from read_before(self.key, page)), page.shape)
            case Fitting() as fitting:
                return (yield from self._knowing(partial(read_fitting, self.key, fitting, self.options)))
            case Window() as window:
                contents = yield from self._knowing(partial(windows.read_window, self.key, window, self.options))
                return presented(contents, window.shape, keep_system=window.keep_system)
            case Whole() as whole:
                contents = yield from self._knowing(partial(reads.read, self.key, self.options))
                return presented(contents, whole.shape, keep_system=whole.keep_system)

    def _knowing(self, reading: Callable[[Known | None], Op[Contents]]) -> Op[Contents]:
        """Read by what is known, and keep what is known then."""
        if self._cache is None:
            return (yield from reading(None))
        contents = yield from reading(self._cache.find(self.key))
        fetched = contents.fetched
        known, joined = (None, False) if fetched is None else (fetched.known, fetched.joined)
        self._cache.keep(self.key, known, hit=joined)
        return contents

    def _appending(self, wanted: appends.Append, op: Op[AppendResult]) -> Op[AppendResult]:
        """Run `op` if there is something to append; else nothing is asked."""
        if not wanted.texts:
            return AppendResult(length=None, record_ids=[])
        done = yield from with_cost(expiring_lists_only(op, self.key, self._seen))
        if self._cache is not None:
            self._cache.note_append(self.key, len(wanted.texts))
        return done

    def _clearing(self) -> Op[ClearResult]:
        self._seen.discard(self.key)
        return with_cost(clears.clear(self.key, secrets.token_hex(12)))

    def _settling(self, lost: OutcomeUnknown | str, in_flight_seconds: float) -> Op[Outcome]:
        longest = _checked_seconds(in_flight_seconds)
        if isinstance(lost, str):
            marker = appends.marker_key(self.key, checked_idempotency_key(lost))
            return outcomes.check_outcome(
                self.key, outcomes.UnresolvedWrite(marker=marker), in_flight_seconds=longest > 0
            )
        if not isinstance(lost, OutcomeUnknown):
            raise ValueError(f"check_outcome takes an idempotency key or an OutcomeUnknown, not {lost!r}")
        if lost.key != self.key:
            raise ValueError(
                f"this error is of the conversation {lost.key!r}, and check_outcome was asked of {self.key!r}: "
                "ask the history or session that raised it"
            )
        return outcomes.check_outcome(
            self.key, appends.unresolved_write(lost, self.options), in_flight_seconds=lost.age < longest
        )


def _checked_seconds(in_flight_seconds: float) -> float:
    if not is_number(in_flight_seconds) or not in_flight_seconds >= 0:
        raise ValueError(f"in_flight_seconds must be a number of seconds, 0 or more, not {in_flight_seconds!r}")
    return in_flight_seconds
