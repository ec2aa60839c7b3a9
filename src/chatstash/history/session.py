"""One conversation, for blocking callers and for asyncio."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from chatstash.errors import Outcome, OutcomeUnknown, UnreadableRecord, UnstorableMessage
from chatstash.history import appends, clears, outcomes, reads
from chatstash.history.keys import checked_idempotency_key, checked_key
from chatstash.history.options import Options
from chatstash.history.records import RANDOM_BYTES, Record, encode, record_ids
from chatstash.history.results import AppendResult, ClearResult, ReadResult
from chatstash.history.turn import Turn
from chatstash.rest.commands import Cost
from chatstash.rest.database import Database
from chatstash.rest.limits import Budget, RetryPolicy, is_number
from chatstash.rest.ops import Op

T = TypeVar("T")

LONGEST_ON_ITS_WAY = 60.0
"""Seconds after which a request that has not shown its effect is taken to be lost."""


class Session:
    """One conversation at one key. Cheap to make; holds no connection of its own.

    Get one from `Store.session`. Safe to share between threads and event loops.

    Args:
        database: The database it is in.
        key: The conversation's key.
        options: How it is read and written.

    Raises:
        ValueError: The key cannot be one.
    """

    def __init__(self, database: Database, key: str, options: Options | None = None) -> None:
        self.key = checked_key(key)
        self.options = options or Options()
        self._database = database

    def __repr__(self) -> str:
        # vars, for a traceback may show the locals of a constructor that is not done.
        known = vars(self)
        ttl = getattr(known.get("options"), "ttl", None)
        return f"Session(key={known.get('key')!r}, ttl={ttl!r}, database={known.get('_database')!r})"

    @property
    def ttl(self) -> int | None:
        """Seconds until the conversation expires, set anew at every append; None leaves the expiry as it is."""
        return self.options.ttl

    @property
    def sync_token(self) -> str | None:
        """What makes a read see the writes before it, wherever it is sent from; None where nothing was asked yet.

        Carry it to whoever goes on with this conversation, in a web session or a cookie, and set it there before the
        first read: https://upstash.com/docs/redis/howto/readyourwrites. It goes with requests of this conversation
        only. Setting None forgets it; setting what cannot be a header's value is a ValueError.
        """
        return self._database.sync_token_of(self.key)

    @sync_token.setter
    def sync_token(self, token: str | None) -> None:
        self._database.set_sync_token(self.key, token)

    def append(self, records: Iterable[Record], *, idempotency_key: str | None = None) -> AppendResult:
        """Append records in their order, all or none, and once, whatever is lost on the way.

        Each gets a new record id; one it has already is replaced. One request and one command, or two commands with a
        ttl; with an idempotency key three, or four with a ttl; no request where there are no records. Over
        `max_request_bytes`, three commands and a request for each part, and one request more.

        Args:
            records: The records, oldest first.
            idempotency_key: A name for what is appended, such as the id of an event that may be delivered twice. Within
                the options' `idempotency_ttl` seconds, a second append with it, from any process, stores nothing.

        Returns:
            The new length, the ids given, and the cost. With no records, the length is None: nothing was asked.

        Raises:
            ValueError: The idempotency key is no text; nothing was sent.
            UnstorableMessage: One is no record that could be read back, or holds what JSON cannot; nothing was sent.
            RecordTooLarge: One alone is over the size of a request; nothing was sent.
            IdempotencyConflict: The idempotency key was used for other records.
            WrongType: The key holds something else, which was left as it was.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; ask `settle` later.
            DatabaseError: Anything else that went wrong; its `applied` says what became of the records.
        """
        wanted = self.prepared(records, idempotency_key)
        return self._run(appends.append(wanted), self._policy.append) if wanted.texts else _nothing_appended()

    async def aappend(self, records: Iterable[Record], *, idempotency_key: str | None = None) -> AppendResult:
        """Append as `append` does, without blocking the event loop."""
        wanted = self.prepared(records, idempotency_key)
        if not wanted.texts:
            return _nothing_appended()
        return await self._arun(appends.append(wanted), self._policy.append)

    def read(self) -> ReadResult:
        """Read the whole conversation, oldest record first, each record once.

        One request and one command, or two commands where the ttl is refreshed on reading; more requests where the
        reply would be over the server's limit, or where a record was stored twice: the copy is then taken out.

        Raises:
            UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`; has the records that can be read.
            WrongType: The key holds something else, which was left as it was.
            DatabaseError: Anything else that went wrong.
        """
        return self.result_of(self.contents())

    async def aread(self) -> ReadResult:
        """Read as `read` does, without blocking the event loop."""
        return self.result_of(await self.acontents())

    def contents(self) -> reads.Contents:
        """Read as `read` does, but leave it to the caller what becomes of records that cannot be read."""
        return self._run(reads.read(self.key, self.options), self._policy.read)

    async def acontents(self) -> reads.Contents:
        """Read as `contents` does, without blocking the event loop."""
        return await self._arun(reads.read(self.key, self.options), self._policy.read)

    def result_of(self, contents: reads.Contents) -> ReadResult:
        """Return the result of a read, with `on_corrupt` applied; raises as `read` does. No request."""
        try:
            records = reads.kept_of(contents.entries, self.options.on_corrupt, reads.placeholder_record)
        except UnreadableRecord as error:
            error.records = [entry for entry in contents.entries if isinstance(entry, Record)]
            raise
        return ReadResult(records, cursor=None, omitted=0, cost=contents.cost)

    def records(self) -> list[Record]:
        """Return all records, oldest first, each with its id and time; costs what `read` costs."""
        return self.read().records

    async def arecords(self) -> list[Record]:
        """Return all records as `records` does, without blocking the event loop."""
        return (await self.aread()).records

    def turn(self) -> Turn:
        """Return a guarded turn: read, and append on leaving only if nobody else changed the conversation meanwhile.

        For `with` and `async with`; see `Turn`.
        """
        return Turn(self)

    def append_unless_changed(self, records: Iterable[Record], contents: reads.Contents) -> AppendResult:
        """Append records if nobody changed the conversation since `contents` were read.

        One request and four commands, or five with a ttl; no request where there are no records.

        Raises:
            ConcurrentTurn: Somebody did; has the records that are new. Nothing was appended.
            UnstorableMessage, RecordTooLarge, WrongType, OutcomeUnknown, DatabaseError: As `append`.
        """
        wanted = self.prepared(records)
        if not wanted.texts:
            return _nothing_appended()
        return self._run(appends.append_unless_changed(wanted, contents), self._policy.append)

    async def aappend_unless_changed(self, records: Iterable[Record], contents: reads.Contents) -> AppendResult:
        """Append as `append_unless_changed` does, without blocking the event loop."""
        wanted = self.prepared(records)
        if not wanted.texts:
            return _nothing_appended()
        return await self._arun(appends.append_unless_changed(wanted, contents), self._policy.append)

    def clear(self) -> ClearResult:
        """Delete the conversation, once, whatever is lost on the way; one request and three or four commands.

        Raises:
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; ask `settle` later.
            DatabaseError: Anything else that went wrong; nothing was deleted.
        """
        return self._run(clears.clear(self.key, secrets.token_hex(12)), self._policy.idempotent)

    async def aclear(self) -> ClearResult:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        return await self._arun(clears.clear(self.key, secrets.token_hex(12)), self._policy.idempotent)

    def settle(self, lost: OutcomeUnknown | str, *, on_its_way: float = LONGEST_ON_ITS_WAY) -> Outcome:
        """Tell what became of a write whose reply was lost; one request, two commands or a few more.

        Args:
            lost: The error, or an idempotency key: that of an append that was cancelled, say.
            on_its_way: For how many seconds after the error the request may still arrive. With an idempotency key, of
                which it is not known when it was used, what is not stored is still possible unless this is 0.

        Returns:
            `STORED`, `NOT_STORED` or `STILL_POSSIBLE`. What was stored and then cleared or trimmed by others counts as
            not stored, except with an idempotency key that is still remembered. An append whose idempotency key
            had been used for other messages is not stored. That a conversation was cleared is remembered for an hour.

        Raises:
            ValueError: The error is of another conversation, the idempotency key is no text, or `on_its_way` is no
                number from 0 on.
            DatabaseError: It could not be asked.
        """
        return self._run(self._settle_op(lost, on_its_way), self._policy.idempotent)

    async def asettle(self, lost: OutcomeUnknown | str, *, on_its_way: float = LONGEST_ON_ITS_WAY) -> Outcome:
        """Tell what became of a write as `settle` does, without blocking the event loop."""
        return await self._arun(self._settle_op(lost, on_its_way), self._policy.idempotent)

    @property
    def _policy(self) -> RetryPolicy:
        return self.options.retry_policy

    def _run(self, op: Op[T], budget: Budget) -> T:
        return self._database.run(op, self.key, budget)

    async def _arun(self, op: Op[T], budget: Budget) -> T:
        return await self._database.arun(op, self.key, budget)

    def _settle_op(self, lost: OutcomeUnknown | str, on_its_way: float) -> Op[Outcome]:
        if not is_number(on_its_way) or not on_its_way >= 0:
            raise ValueError(f"on_its_way must be a number of seconds, 0 or more, not {on_its_way!r}")
        if isinstance(lost, str):
            marker = appends.marker_key(self.key, checked_idempotency_key(lost))
            return outcomes.settle(self.key, (), marker, "", on_its_way=on_its_way > 0)
        if not isinstance(lost, OutcomeUnknown) or lost.key != self.key:
            raise ValueError(
                f"settle takes an idempotency key or an OutcomeUnknown of this conversation, {self.key!r}, not {lost!r}"
            )
        age = time.time() - lost.time_ms / 1000
        return outcomes.settle(self.key, lost.rids, lost.marker, lost.digest, on_its_way=age < on_its_way)

    def prepared(self, records: Iterable[Record], idempotency_key: str | None = None) -> appends.Append:
        """Return records ready to be appended, each with a new id; raises as `append` does before it sends anything."""
        if isinstance(records, Record) or not isinstance(records, Iterable):
            raise UnstorableMessage(f"records are wanted, in a list or the like, not a {type(records).__name__}")
        kept = list(records)
        rids = record_ids(len(kept), time_ms=time.time_ns() // 1_000_000, randomness=secrets.token_bytes(RANDOM_BYTES))
        texts = [
            encode(replace(record, rid=rid) if isinstance(record, Record) else record, index=index)
            for index, (record, rid) in enumerate(zip(kept, rids, strict=True))
        ]
        if idempotency_key is None:
            return appends.Append(self.key, texts, rids, self.options)
        return appends.Append(
            self.key, texts, rids, self.options, checked_idempotency_key(idempotency_key), appends.digest_of(kept)
        )


def _nothing_appended() -> AppendResult:
    return AppendResult(length=None, rids=[], cost=Cost())
