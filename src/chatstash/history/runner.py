"""Builds the operations of one conversation that adapters share, and runs any operation in both colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from chatstash.history.cache.cache import ReadCache
from chatstash.history.codec import Codec, items_of, read_result, readable_items
from chatstash.history.operations.append import Append, append_unless_changed
from chatstash.history.operations.contents import Contents
from chatstash.history.operations.prepare import prepared
from chatstash.history.operations.read import read_stored
from chatstash.history.operations.select import read_selection
from chatstash.history.records.keys import ALTERNATIVES, Owned, companion_key
from chatstash.history.records.message_id import Named
from chatstash.history.records.record import Record
from chatstash.history.scripts.appending import Replaced
from chatstash.history.steps.expiry import lists_only
from chatstash.history.steps.indexing import IndexEntry, refreshing_index
from chatstash.history.steps.recent import Recent, RecentKeys
from chatstash.history.values.options import Options, check_keywords
from chatstash.history.values.results import AppendResult, ReadResult
from chatstash.history.values.selection import Page, ReadOptions, Selection, Whole, Window, selection_of
from chatstash.history.values.sessions import SessionInfo
from chatstash.rest.database import Database
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Op

if TYPE_CHECKING:
    from chatstash.history.operations.slices import Slice, SlicePlace

ItemT = TypeVar("ItemT")
T = TypeVar("T")

_recent: WeakKeyDictionary[Database, Recent] = WeakKeyDictionary()


def recent_of(database: Database) -> Recent:
    """Return what this process has lately seen of a database."""
    return _recent.get(database) or _recent.setdefault(database, Recent(RecentKeys(), RecentKeys()))


class Work(NamedTuple, Generic[T]):
    """An operation to run.

    Attributes:
        name: The name it is counted under.
        op: The operation.
        budget: Its time and retries.
        key: The key of the conversation or index it is about.
    """

    name: str
    op: Op[T]
    budget: Budget
    key: str


def run_work(database: Database, work: Work[T]) -> T:
    """Run an operation on a database."""
    return database.run(work.name, work.op, work.key, work.budget)


async def arun_work(database: Database, work: Work[T]) -> T:
    """Run an operation on a database without blocking the event loop."""
    return await database.arun(work.name, work.op, work.key, work.budget)


class Address(NamedTuple):
    """Where a conversation is.

    Attributes:
        key: Its key.
        named: The parts of the key; None for one that does not begin with the store's prefix.
        entry: Its place on the session index; None for no index.
    """

    key: str
    named: Owned | None
    entry: IndexEntry | None


class Runner(Generic[ItemT]):
    """Runs the operations of one conversation, and converts its items.

    Args:
        database: The database that holds the conversation.
        address: Where it is.
        options: The conversation's options.
        codec: Converts items to records and back.
        cache: Caches the records; None for no cache.
    """

    def __init__(
        self,
        database: Database,
        address: Address,
        options: Options,
        codec: Codec[ItemT],
        cache: ReadCache | None = None,
    ) -> None:
        self.key = address.key
        self.options = options
        self.codec = codec
        self._database = database
        self._cache = cache
        self.address = address

    def run(self, work: Work[T]) -> T:
        """Run an operation of this conversation."""
        return run_work(self._database, work)

    async def arun(self, work: Work[T]) -> T:
        """Run an operation as `run` does, without blocking the event loop."""
        return await arun_work(self._database, work)

    def selection(self, wanted: ReadOptions) -> Window | Page | Whole:
        """Return the selection of a read; raises as `read` does, before anything is sent."""
        check_keywords(wanted, ReadOptions.__annotations__, "read")
        if (start_on := wanted.get("start_on")) is not None:
            wanted = {**wanted, "start_on": self.codec.type_names(start_on)}
        return selection_of(self.options, wanted)

    def reading(self, selection: Selection) -> Work[Contents]:
        """Return the operation that reads a selection; `result_of` or `items_of` makes its items."""
        return self._reading(read_selection(self.key, selection, self.options, self._cache))

    def reading_before(self, message: Named, selection: Selection) -> Work[Contents]:
        """Return the operation that reads a selection without a message and all newer ones."""
        from chatstash.history.operations.before import read_before_message  # noqa: PLC0415 - few processes edit

        return self._reading(read_before_message(self.key, message, selection, self.options, self._cache))

    def _reading(self, op: Op[Contents]) -> Work[Contents]:
        if self.address.entry is not None:
            op = refreshing_index(op, self.key, self.address.entry)
        return self.work("read", lists_only(op, self.key, self._seen))

    def reading_unchanged(self) -> Work[Contents]:
        """Return the operation that reads the whole conversation, whatever its options, and changes nothing."""
        return self.work("read", read_stored(self.key, self.options.max_request_bytes))

    def reading_slice(self, place: SlicePlace) -> Work[Slice]:
        """Return the operation that reads the stored records from a place on, oldest first, and changes nothing."""
        from chatstash.history.operations.slices import read_slice  # noqa: PLC0415 - only for exports

        return self.work("read", read_slice(self.key, place))

    def reading_info(self) -> Work[SessionInfo | None] | None:
        """Return the operation that reads what the session index says; None for a conversation on no index."""
        _, named, entry = self.address
        if named is None or entry is None:
            return None
        from chatstash.history.operations import sessions  # noqa: PLC0415 - as all that manages sessions

        index = sessions.Index(entry.keys, named.user_id, entry.recent)
        return self.work("get_session", sessions.get_session(index, entry.session_id))

    def result_of(self, contents: Contents) -> ReadResult[ItemT]:
        """Return the result of a read, with `on_corrupt` applied."""
        return read_result(contents, self.codec, self.key, self.options.on_corrupt)

    def items_of(self, contents: Contents) -> list[ItemT]:
        """Return the items of a read without their records, in half the time, with `on_corrupt` applied."""
        return items_of(contents, self.codec, self.key, self.options.on_corrupt)

    def readable_items(self, records: Sequence[Record]) -> list[ItemT]:
        """Return the items of records, without those that cannot be read."""
        return readable_items(records, self.codec, self.key)

    def appending_unless_changed(
        self, records: Sequence[Record], read: Contents, replacing: Named | None = None
    ) -> Work[AppendResult]:
        """Return the operation that appends records if nobody changed the conversation since it was read.

        With `replacing`, they take the place of that message and all newer ones.
        """
        ready = self.prepared(records)
        if replacing is not None and records:
            ready = replace(ready, replaces=self._replaced(replacing))
        return self.appending(ready, append_unless_changed(ready, read), "guarded_append")

    def appending(self, ready: Append, op: Op[AppendResult], name: str = "append") -> Work[AppendResult]:
        """Return the operation that appends records which are ready; it makes no request without records."""
        return self.work(name, self._append_if_any(ready, op), self.options.retry_policy.append)

    def _replaced(self, message: Named) -> Replaced:
        from chatstash.history.records.alternatives import alternatives_ttl  # noqa: PLC0415 - few edit
        from chatstash.history.records.timed_names import new_name  # noqa: PLC0415

        aside, ttl = companion_key(ALTERNATIVES, self.key), alternatives_ttl(self.options.ttl)
        return Replaced(message.by, message.text, aside, new_name(), ttl)

    def records_of(self, items: Iterable[ItemT]) -> list[Record]:
        """Return the records of items, as the codec makes them."""
        return list(self.codec.to_records(items))

    def prepared(self, records: Sequence[Record], idempotency_key: str | None = None) -> Append:
        """Return records ready to be appended; raises what `append` raises before anything is sent."""
        return prepared(self.key, records, self.options, idempotency_key, self.address.entry)

    def work(self, name: str, op: Op[T], budget: Budget | None = None) -> Work[T]:
        """Return an operation of this conversation, to be run; the budget is that of reading if none is given."""
        return Work(name, op, budget or self.options.retry_policy.read, self.key)

    def _append_if_any(self, ready: Append, op: Op[AppendResult]) -> Op[AppendResult]:
        if not ready.texts:
            return AppendResult(length=None, record_ids=[])
        done = yield from lists_only(op, self.key, self._seen)
        if self._cache is not None:
            self._cache.note_append(self.key, len(ready.texts))
        return done

    @property
    def _seen(self) -> RecentKeys:
        return recent_of(self._database).lists
