"""One conversation, for blocking callers and for asyncio."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from chatstash.errors import Outcome, OutcomeUnknown
from chatstash.history.codec import RecordCodec, read_result
from chatstash.history.editing import Editing
from chatstash.history.guarded_turn import GuardedTurn
from chatstash.history.operations import append, clear, outcome, window
from chatstash.history.operations.contents import Contents
from chatstash.history.operations.replace_all import replace_all
from chatstash.history.operations.stored_for import stored_for
from chatstash.history.operations.take_newest import take_newest
from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode, with_metadata
from chatstash.history.records.message_id import MessageId
from chatstash.history.records.record import Entry, Record
from chatstash.history.runner import Runner, Work
from chatstash.history.steps.indexing import NO_DESCRIPTION, Description
from chatstash.history.values.options import shows_keywords
from chatstash.history.values.results import AppendResult, ClearResult, ReadResult
from chatstash.history.values.selection import ReadOptions
from chatstash.rest.limits import is_number

if TYPE_CHECKING:
    from chatstash.history.draft import Draft

ItemT = TypeVar("ItemT")

MAX_IN_FLIGHT_SECONDS = 60.0
"""Seconds after which a request that had no effect is assumed never to arrive."""


class Session(Editing[ItemT], Runner[ItemT]):
    """One conversation: each operation for blocking callers and, with the prefix `a`, for asyncio.

    Get one from `Store.session`; its items are records. Adapters to frameworks build on a session with their own codec
    (`Store.session_with`). Cheap to make, and safe to share between threads and event loops.

    Attributes:
        key: The conversation's key.
        options: The conversation's `Options`.
        codec: Converts items to records and back.
    """

    def _runner(self) -> Runner[ItemT]:
        return self

    def __repr__(self) -> str:
        return f"Session(key={self.key!r}, ttl={self.options.ttl!r}, database={self._database!r})"

    @property
    def sync_token(self) -> str | None:
        """Upstash's read-your-writes token of this conversation; None before the first reply. Can be set.

        To let another process see these writes, set it there before the first read, for example from a cookie:
        https://upstash.com/docs/redis/howto/readyourwrites. None forgets it. An invalid header value is a ValueError.
        """
        return self._database.sync_token_of(self.key)

    @sync_token.setter
    def sync_token(self, token: str | None) -> None:
        self._database.set_sync_token(self.key, token)

    def append(
        self,
        items: Iterable[ItemT],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AppendResult:
        """Append items in their order, all or none, exactly once even if replies are lost.

        One request. One command, two with a ttl. On a session index: three commands, six with a ttl; two and four if
        this process appended to the session within five minutes. With a ttl or an index, one more if this process has
        not read or written the conversation within five minutes. Strict delivery or an idempotency key: always two more
        instead. Bounded storage is strict, and takes one more command to trim. No request without items. Over
        `max_request_bytes`: a request of three commands for each part, and one more request.

        Args:
            items: The items, oldest first. Each gets a new record id.
            idempotency_key: A name for this append, such as the id of an event that may be delivered twice. Within
                `idempotency_ttl` seconds, another append with the same key, from any process, stores nothing.
            metadata: The application's own data, a dict of JSON values of at most 64 KB, stored with each of the
                records. `Record.metadata` gives it back; models and other libraries do not see it.

        Raises:
            ValueError: The idempotency key is not a string; nothing was sent.
            UnstorableMessage: An item, or the metadata, cannot be stored; nothing was sent.
            RecordTooLarge: One item alone exceeds the maximum request size; nothing was sent.
            IdempotencyConflict: The idempotency key was used for other items; nothing was stored.
            WrongType: The key holds a value that is not a list; it was not changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; call `check_outcome` later.
            DatabaseError: Any other failure; its `applied` says whether the items were stored.
        """
        return self.run(self._append(items, idempotency_key, metadata))

    async def aappend(
        self,
        items: Iterable[ItemT],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AppendResult:
        """Append as `append` does, without blocking the event loop."""
        return await self.arun(self._append(items, idempotency_key, metadata))

    @shows_keywords(ReadOptions)
    def read(self, **wanted: Unpack[ReadOptions]) -> ReadResult[ItemT]:
        """Read the conversation, oldest item first, each once: all of it, the newest items, or a page further back.

        All: one request and one command, two with `max_stored_messages`. The newest, or a page: one request and three
        commands, four for a window with `keep_system`. One more command if reading restarts the ttl, or two, as for
        `append`. More requests if the reply would exceed the server's limit, if a record may have been stored twice
        (the duplicate is then removed), or if others trimmed or removed records since the cursor was made.

        Args:
            wanted: Which items, and how they are returned: see `ReadOptions`.

        Raises:
            ValueError: The arguments contradict each other, or one is invalid.
            UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`; has the records that can be read.
            WrongType: The key holds a value that is not a list; it was not changed.
            ConversationChanged: Others kept changing the conversation during the read, or moved the cursor's place.
            DatabaseError: Any other failure.
        """
        return self.result_of(self.run(self.reading(self.selection(wanted))))

    @shows_keywords(ReadOptions)
    async def aread(self, **wanted: Unpack[ReadOptions]) -> ReadResult[ItemT]:
        """Read as `read` does, without blocking the event loop."""
        return self.result_of(await self.arun(self.reading(self.selection(wanted))))

    def records(self) -> list[Record]:
        """Return the stored records that `read` reads without arguments, at the same cost."""
        return self._records_in(self.run(self.reading(self.selection({}))))

    async def arecords(self) -> list[Record]:
        """Return records as `records` does, without blocking the event loop."""
        return self._records_in(await self.arun(self.reading(self.selection({}))))

    def count(self) -> int:
        """Count the records without duplicates; one request, four commands, a few more if there may be duplicates."""
        return self.run(self.work("count", window.count(self.key)))

    async def acount(self) -> int:
        """Count as `count` does, without blocking the event loop."""
        return await self.arun(self.work("count", window.count(self.key)))

    def guarded_turn(self, *, replacing: MessageId | None = None) -> GuardedTurn[ItemT]:
        """Return a guarded turn: read, and append on leaving only if nobody else changed the conversation meanwhile.

        For `with` and `async with`. Reading costs what `read` costs. Appending takes one request and four commands,
        five with a ttl; one more with strict delivery. Replacing takes one request and fifteen commands, one more with
        a ttl. On a session index, as many more as for `append`.

        Args:
            replacing: Names a message that the turn replaces together with all newer ones, to generate it again: see
                `GuardedTurn`. None to append.

        Raises:
            ValueError: The id cannot name a message; nothing was sent.
        """
        return GuardedTurn(self, self.selection({}), replacing)

    def draft(self, *, every: float = 1.0) -> Draft[ItemT]:
        """Return a draft: a reply that is stored while it is written; see `Draft`. Makes no request.

        Args:
            every: Seconds between two writes, at least 0.5.

        Raises:
            ValueError: `every` is invalid.
        """
        from chatstash.history.draft import Draft  # noqa: PLC0415 - few processes write drafts

        return Draft(self, every)

    def clear(self) -> ClearResult:
        """Delete the conversation, with its alternatives, draft and quarantine; exactly once even if replies are lost.

        One request and four commands, five if there was no conversation; three more for a session on an index.

        Raises:
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; call `check_outcome` later.
            DatabaseError: Any other failure; nothing was deleted.
        """
        return self.run(self._clear())

    async def aclear(self) -> ClearResult:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        return await self.arun(self._clear())

    def pop_item(self) -> ItemT | None:
        """Remove the newest record, exactly once even if replies are lost, and return its item; None if there is none.

        Two requests and seven commands, nine after an edit; two more requests for each time that others append in
        between, and if there may be duplicates. A codec whose records have several parts may remove only the last part;
        the item returned is the whole one.

        Raises:
            UnreadableRecord: The newest record cannot be read; it was not removed.
            ConversationChanged: Others kept appending; nothing was removed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the record was removed.
        """
        return self._popped(self.run(self._pop_item()))

    async def apop_item(self) -> ItemT | None:
        """Remove and return the newest item as `pop_item` does, without blocking the event loop."""
        return self._popped(await self.arun(self._pop_item()))

    def replace(self, items: Iterable[ItemT]) -> None:
        """Replace all items in one atomic step, exactly once even if replies are lost.

        One request and five commands, six with a ttl; on a session index as many more as for `append`. The new records
        must fit one request.

        Args:
            items: The items, oldest first. Each gets a new record id. None leave an empty conversation.

        Raises:
            UnstorableMessage: An item cannot be stored; nothing was sent.
            RequestTooLarge: The items do not fit one request; nothing was changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the items were replaced.
        """
        self.run(self._replace(items))

    async def areplace(self, items: Iterable[ItemT]) -> None:
        """Replace all items as `replace` does, without blocking the event loop."""
        await self.arun(self._replace(items))

    def restore(self, records: Iterable[Entry]) -> AppendResult:
        """Append records with their stored bytes and ids, all or none, exactly once even if replies are lost.

        Only where the conversation has no records, which is checked in the same step. The session index, if there is
        one, shows it with the times of its records. One request and four commands, five with a ttl; more commands with
        an index. More requests over `max_request_bytes`, or for records that are not UTF-8, as for `append`.

        Args:
            records: The records of a read or an export, oldest first, or the errors of unreadable ones. Those without
                `raw` are encoded, so a changed record needs `raw=b""`. All are stored, whatever `max_stored_messages`
                says.

        Returns:
            The result, with the ids of those records that have one.

        Raises:
            ConversationExists: The conversation has records; nothing was changed.
            UnstorableMessage: A record cannot be stored; nothing was sent.
            RecordTooLarge: One record alone exceeds the maximum request size; nothing was sent.
            WrongType: The key holds a value that is not a list; it was not changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; call `check_outcome` later.
            DatabaseError: Any other failure; its `applied` says whether the records were stored.
        """
        return self.run(self.restoring(records))

    async def arestore(self, records: Iterable[Entry]) -> AppendResult:
        """Restore as `restore` does, without blocking the event loop."""
        return await self.arun(self.restoring(records))

    def check_outcome(self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = MAX_IN_FLIGHT_SECONDS) -> Outcome:
        """Return the outcome of a write whose reply was lost; one request, two commands or a few more.

        Args:
            lost: The error, or the idempotency key of an append that was cancelled, for example.
            in_flight_seconds: Seconds after the error during which the request may still arrive. For an idempotency
                key, returns STILL_POSSIBLE rather than NOT_STORED unless this is 0.

        Returns:
            `STORED`, `NOT_STORED` or `STILL_POSSIBLE`. With strict delivery, an append that is not stored is called
            off, so the answer is `NOT_STORED` at once. Records that others cleared or trimmed count as not stored,
            except with an idempotency key that is still remembered. An append whose idempotency key was used for other
            items is not stored. A clear is remembered for an hour; where the token may run no scripts, the answer for a
            clear stays `STILL_POSSIBLE`.

        Raises:
            ValueError: The error belongs to another conversation, the idempotency key is not a string, or
                `in_flight_seconds` is not a number of 0 or more.
            DatabaseError: The database could not be asked.
        """
        return self.run(self._check_outcome(lost, in_flight_seconds))

    async def acheck_outcome(
        self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = MAX_IN_FLIGHT_SECONDS
    ) -> Outcome:
        """Return the outcome as `check_outcome` does, without blocking the event loop."""
        return await self.arun(self._check_outcome(lost, in_flight_seconds))

    def stored_for(self, idempotency_key: str) -> list[ItemT] | None:
        """Return the items that were appended with an idempotency key, to answer an event that is delivered again.

        One request. Two commands if the key was not used; otherwise four, and a few more if over a hundred items were
        appended since.

        Returns:
            The items that are still stored, oldest first, without those that cannot be read; None if the key was not
            used within `idempotency_ttl` seconds.

        Raises:
            ValueError: The idempotency key is not a string; nothing was sent.
            DatabaseError: The database could not be asked.
        """
        records = self.run(self.work("stored_for", stored_for(self.key, idempotency_key)))
        return None if records is None else self.readable_items(records)

    async def astored_for(self, idempotency_key: str) -> list[ItemT] | None:
        """Return items as `stored_for` does, without blocking the event loop."""
        records = await self.arun(self.work("stored_for", stored_for(self.key, idempotency_key)))
        return None if records is None else self.readable_items(records)

    def _append(
        self, items: Iterable[ItemT], idempotency_key: str | None, metadata: Mapping[str, Any] | None
    ) -> Work[AppendResult]:
        ready = self.prepared(with_metadata(self.records_of(items), metadata), idempotency_key)
        return self.appending(ready, append.append(ready))

    def _records_in(self, contents: Contents) -> list[Record]:
        return read_result(contents, RecordCodec(), self.key, self.options.on_corrupt).records

    def _clear(self) -> Work[ClearResult]:
        # Another program may use the key once it is free.
        self._seen.discard(self.key)
        entry = self.address.entry
        if entry is not None:
            entry.forget()
        op = clear.clear(self.key, os.urandom(12).hex(), entry)
        return self.work("clear", op, self.options.retry_policy.idempotent)

    def _pop_item(self) -> Work[bytes | None]:
        op = take_newest(self.key, os.urandom(12).hex(), self._without_last)
        return self.work("pop_item", op, self.options.retry_policy.idempotent)

    def _without_last(self, raw: bytes) -> str:
        record = decode(raw, key=self.key)
        self.codec.from_record(record, key=self.key)
        rest = self.codec.without_last(record)
        return "" if rest is None else encode(rest)

    def _popped(self, raw: bytes | None) -> ItemT | None:
        return None if raw is None else self.codec.from_record(decode(raw, key=self.key), key=self.key)

    def _replace(self, items: Iterable[ItemT]) -> Work[None]:
        op = replace_all(os.urandom(12).hex(), self.prepared(self.records_of(items)))
        return self.work("replace", op, self.options.retry_policy.idempotent)

    def restoring(self, records: Iterable[Entry], description: Description = NO_DESCRIPTION) -> Work[AppendResult]:
        """Return the operation that restores records, and gives the session on the index its title and metadata."""
        from chatstash.history.operations.restore import prepared_to_restore, restore  # noqa: PLC0415 - rarely used

        entries = list(records)
        ready = prepared_to_restore(self.key, entries, self.options, self.address.entry, description)
        ids = [entry.id for entry in entries if isinstance(entry, Record) and entry.id is not None]
        op = self._append_if_any(ready, restore(ready, ids))
        return self.work("restore", op, self.options.retry_policy.append)

    def _check_outcome(self, lost: OutcomeUnknown | str, in_flight_seconds: float) -> Work[Outcome]:
        if not is_number(in_flight_seconds) or not in_flight_seconds >= 0:
            raise ValueError(f"in_flight_seconds must be a number of seconds, 0 or more, not {in_flight_seconds!r}")
        write = outcome.unresolved_write(self.key, lost, self.options)
        may_still_arrive = (0 if isinstance(lost, str) else lost.age) < in_flight_seconds
        op = outcome.check_outcome(self.key, write, may_still_arrive=may_still_arrive)
        return self.work("check_outcome", op, self.options.retry_policy.idempotent)
