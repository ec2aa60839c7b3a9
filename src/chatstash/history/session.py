"""One conversation, for blocking callers and for asyncio."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from chatstash.history import operations
from chatstash.history.keys import checked_key, checked_ttl
from chatstash.history.records import RANDOM_BYTES, Record, RecordId, encode, record_ids
from chatstash.history.results import AppendResult, ClearResult, ReadResult
from chatstash.rest.commands import Cost
from chatstash.rest.database import Database
from chatstash.rest.limits import Limits
from chatstash.rest.ops import Op

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An append ready to be sent."""

    texts: list[str]
    rids: list[RecordId]


class Session:
    """One conversation at one key. Cheap to make; holds no connection of its own.

    Get one from `Store.session`. Safe to share between threads and event loops.

    Args:
        database: The database it is in.
        key: The conversation's key.
        ttl: Seconds until the conversation expires, set anew at every append; None leaves the expiry as it is.
        refresh_ttl_on_read: Whether reading sets it anew too.
        limits: How long an operation may take and how often it is tried.

    Raises:
        ValueError: The key or the ttl cannot be one.
    """

    def __init__(
        self,
        database: Database,
        key: str,
        *,
        ttl: int | None = None,
        refresh_ttl_on_read: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.key = checked_key(key)
        self.ttl = checked_ttl(ttl)
        self.refresh_ttl_on_read = refresh_ttl_on_read
        self._database = database
        self._limits = limits or Limits()

    def __repr__(self) -> str:
        return f"Session(key={self.key!r}, ttl={self.ttl!r}, database={self._database!r})"

    def append(self, records: Iterable[Record]) -> AppendResult:
        """Append records in their order, all or none.

        Each gets a new record id; one it has already is replaced. One request and one command, or two commands with a
        ttl; no request where there are no records.

        Args:
            records: The records, oldest first.

        Returns:
            The new length, the ids given, and the cost. With no records, the length is None: nothing was asked.

        Raises:
            UnstorableMessage: One is no record that could be read back, or holds what JSON cannot; nothing was sent.
            WrongType: The key holds something else, which was left as it was.
            OutcomeUnknown: The reply was lost; the records may or may not be stored.
            DatabaseError: Anything else that went wrong; its `applied` says what became of the records.
        """
        prepared = _prepared(records)
        return self._run(self._append_op(prepared)) if prepared.texts else _nothing_appended()

    async def aappend(self, records: Iterable[Record]) -> AppendResult:
        """Append as `append` does, without blocking the event loop."""
        prepared = _prepared(records)
        return await self._arun(self._append_op(prepared)) if prepared.texts else _nothing_appended()

    def read(self) -> ReadResult:
        """Read the whole conversation, oldest record first.

        One request and one command, or two commands where the ttl is refreshed on reading.

        Raises:
            CorruptRecord: A record cannot be read; says which.
            UnsupportedRecord: A record is of a newer form.
            WrongType: The key holds something else, which was left as it was.
            DatabaseError: Anything else that went wrong.
        """
        return self._run(self._read_op())

    async def aread(self) -> ReadResult:
        """Read as `read` does, without blocking the event loop."""
        return await self._arun(self._read_op())

    def records(self) -> list[Record]:
        """Return all records, oldest first, each with its id and time; costs what `read` costs."""
        return self.read().records

    async def arecords(self) -> list[Record]:
        """Return all records as `records` does, without blocking the event loop."""
        return (await self.aread()).records

    def clear(self) -> ClearResult:
        """Delete the conversation; one request, one command.

        Raises:
            OutcomeUnknown: The reply was lost; the conversation may or may not be gone. Clearing again also deletes
                what others appended meanwhile, which is why it is not done by itself.
            DatabaseError: Anything else that went wrong; nothing was deleted.
        """
        return self._run(operations.clear(self.key))

    async def aclear(self) -> ClearResult:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        return await self._arun(operations.clear(self.key))

    def _run(self, op: Op[T]) -> T:
        return self._database.run(op, self.key, self._limits)

    async def _arun(self, op: Op[T]) -> T:
        return await self._database.arun(op, self.key, self._limits)

    def _append_op(self, prepared: _Prepared) -> Op[AppendResult]:
        return operations.append(self.key, prepared.texts, prepared.rids, self.ttl)

    def _read_op(self) -> Op[ReadResult]:
        return operations.read(self.key, self.ttl if self.refresh_ttl_on_read else None)


def _nothing_appended() -> AppendResult:
    return AppendResult(length=None, rids=[], cost=Cost())


def _prepared(records: Iterable[Record]) -> _Prepared:
    kept = list(records)
    rids = record_ids(len(kept), time_ms=time.time_ns() // 1_000_000, randomness=secrets.token_bytes(RANDOM_BYTES))
    texts = [
        encode(replace(record, rid=rid) if isinstance(record, Record) else record, index=index)
        for index, (record, rid) in enumerate(zip(kept, rids, strict=True))
    ]
    return _Prepared(texts, rids)
