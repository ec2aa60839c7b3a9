"""One conversation, for blocking callers and for asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chatstash.errors import Outcome, OutcomeUnknown
from chatstash.history.conversation import LONGEST_IN_FLIGHT, Conversation
from chatstash.history.guarded_turn import GuardedTurn
from chatstash.history.operations.read import Contents
from chatstash.history.records.record import Record
from chatstash.history.results import AppendResult, ClearResult, Cursor, ReadResult
from chatstash.history.selection import Selection, Wanted, selection_of
from chatstash.history.tool_calls.view import ToolCalls
from chatstash.history.unreadable import readable_records


class Session:
    """One conversation at one key. Cheap to make; holds no connection of its own.

    Get one from `Store.session`. Safe to share between threads and event loops.

    Args:
        conversation: Its operations. Adapters to other frameworks use them, and may treat unreadable records in their
            own way.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def __repr__(self) -> str:
        return f"Session(key={self.key!r}, ttl={self.ttl!r}, database={self.conversation.database!r})"

    @property
    def key(self) -> str:
        """The conversation's key."""
        return self.conversation.key

    @property
    def ttl(self) -> int | None:
        """Seconds until the conversation expires, set anew at every append; None leaves the expiry as it is."""
        return self.conversation.options.ttl

    @property
    def sync_token(self) -> str | None:
        """The token by which a read sees earlier writes, from any process; None before the first reply.

        Carry it to the process that continues this conversation, in a web session or a cookie, and set it there before
        the first read: https://upstash.com/docs/redis/howto/readyourwrites. It is sent with requests of this
        conversation only. None forgets it; a text that cannot be a header's value is a ValueError.
        """
        return self.conversation.sync_token

    @sync_token.setter
    def sync_token(self, token: str | None) -> None:
        self.conversation.sync_token = token

    def append(self, records: Iterable[Record], *, idempotency_key: str | None = None) -> AppendResult:
        """Append records in their order, all or none, and once, whatever is lost on the way.

        Each gets a new record id; one it has already is replaced. One request and one command, or two commands with a
        ttl, three if this process neither read nor wrote the conversation within five minutes. With strict delivery or
        an idempotency key three, or four with a ttl; bounded storage is strict, and takes one more to trim. No request
        where there are no records. Over `max_request_bytes`, three commands and a request for each part, and one
        request more.

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
            WrongType: The key holds something else; its value was not changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; ask `check_outcome` later.
            DatabaseError: Anything else that went wrong; its `applied` says whether the records were stored.
        """
        return self.conversation.append(records, idempotency_key)

    async def aappend(self, records: Iterable[Record], *, idempotency_key: str | None = None) -> AppendResult:
        """Append as `append` does, without blocking the event loop."""
        return await self.conversation.aappend(records, idempotency_key)

    def read(
        self,
        *,
        last: int | None = None,
        before: Cursor | str | None = None,
        limit: int | None = None,
        keep_system: bool | None = None,
        start_on: str | Sequence[str] | None = None,
        tool_calls: ToolCalls | None = None,
    ) -> ReadResult:
        """Read the conversation, oldest record first, each record once: all of it, the newest, or a page further back.

        All: one request and one command, two with `max_stored_messages`. The newest, or a page: one request and
        three commands; a window with `keep_system`, four. One command more where the ttl is refreshed on reading, or
        two as with an append. More requests where the reply would be over the server's limit, where a record may have
        been stored twice (the duplicate is then removed), or where others trimmed or removed records since the cursor
        was made.

        Args:
            last: How many of the newest records, at most. None for the options' `read_last`, else all.
            before: The `cursor` of a result, or its text: the records before it.
            limit: How many of those, at most; None for 50.
            keep_system: Whether a window has the conversation's first record too, where it is a system message; None
                for the options'.
            start_on: Type of the first record returned, such as `human`, or several, after a kept system message. Older
                records are left out, and all of them if none has that type. None for the options'. Not for pages.
            tool_calls: How tool calls and results are returned: `stored`, `paired` or `answered`, see `Options`. None
                for the options'.

        Raises:
            ValueError: The arguments contradict each other, or one cannot be right.
            UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`; has the records that can be read.
            WrongType: The key holds something else; its value was not changed.
            ConversationChanged: Others changed it again and again while it was read in pages, or the cursor's place
                cannot be told.
            DatabaseError: Anything else that went wrong.
        """
        wanted = Wanted(last, before, limit, keep_system, start_on, tool_calls)
        return read_result(self.conversation, self.conversation.read(self._selection(wanted)))

    async def aread(
        self,
        *,
        last: int | None = None,
        before: Cursor | str | None = None,
        limit: int | None = None,
        keep_system: bool | None = None,
        start_on: str | Sequence[str] | None = None,
        tool_calls: ToolCalls | None = None,
    ) -> ReadResult:
        """Read as `read` does, without blocking the event loop."""
        wanted = Wanted(last, before, limit, keep_system, start_on, tool_calls)
        return read_result(self.conversation, await self.conversation.aread(self._selection(wanted)))

    def _selection(self, wanted: Wanted) -> Selection:
        return selection_of(wanted, self.conversation.options)

    def count(self) -> int:
        """Count the records without duplicates; one request, four commands, a few more where there may be some."""
        return self.conversation.count()

    async def acount(self) -> int:
        """Count as `count` does, without blocking the event loop."""
        return await self.conversation.acount()

    def records(self) -> list[Record]:
        """Return all records, oldest first, each with its id and time; costs what `read` costs."""
        return self.read().records

    async def arecords(self) -> list[Record]:
        """Return all records as `records` does, without blocking the event loop."""
        return (await self.aread()).records

    def guarded_turn(self) -> Turn:
        """Return a guarded turn: read, and append on leaving only if nobody else changed the conversation meanwhile.

        For `with` and `async with`; see `Turn`. Reading costs what `read` costs. Appending takes one request and four
        commands, five with a ttl; one more with strict delivery.
        """
        return Turn(self.conversation)

    def clear(self) -> ClearResult:
        """Delete the conversation, once, whatever is lost on the way; one request and three or four commands.

        Raises:
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; ask `check_outcome` later.
            DatabaseError: Anything else that went wrong; nothing was deleted.
        """
        return self.conversation.clear()

    async def aclear(self) -> ClearResult:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        return await self.conversation.aclear()

    def check_outcome(self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = LONGEST_IN_FLIGHT) -> Outcome:
        """Tell the outcome of a write whose reply was lost; one request, two commands or a few more.

        Args:
            lost: The error, or an idempotency key: that of an append that was cancelled, say.
            in_flight_seconds: Seconds after the error during which the request may still arrive. For an idempotency
                key, returns STILL_POSSIBLE rather than NOT_STORED unless this is 0.

        Returns:
            `STORED`, `NOT_STORED` or `STILL_POSSIBLE`. With strict delivery, an append that is not stored is called
            off: `NOT_STORED` at once. What was stored and then cleared or trimmed by others counts as not stored,
            except with an idempotency key that is still remembered. An append whose idempotency key had been used for
            other messages is not stored. That a conversation was cleared is remembered for an hour.

        Raises:
            ValueError: The error belongs to another conversation, the idempotency key is not a string, or
                `in_flight_seconds` is not a number of 0 or more.
            DatabaseError: It could not be asked.
        """
        return self.conversation.check_outcome(lost, in_flight_seconds)

    async def acheck_outcome(
        self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = LONGEST_IN_FLIGHT
    ) -> Outcome:
        """Tell the outcome of a write as `check_outcome` does, without blocking the event loop."""
        return await self.conversation.acheck_outcome(lost, in_flight_seconds)


def read_result(conversation: Conversation, contents: Contents) -> ReadResult:
    """Return the result of a read, with the conversation's `on_corrupt` applied.

    Raises:
        UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`.
    """
    records = readable_records(contents, conversation.options.on_corrupt)
    return ReadResult(records, contents.cursor, contents.omitted, contents.cost)


class Turn(GuardedTurn[Record, ReadResult]):
    """A guarded turn of a session, for `with` or `async with`; get one from `Session.turn`.

    Entering reads the conversation, with one request. Leaving appends what was added, with one request, if nobody else
    changed the conversation meanwhile; else it raises `ConcurrentTurn`, and nothing is appended. Where the block
    raises, nothing is appended either. Used once.

    Attributes:
        result: What reading gave.
        appended: What the append did, once the turn is left.

    Raises:
        ConcurrentTurn: On leaving: others appended meanwhile, or cleared; has what they appended.
    """

    @property
    def records(self) -> list[Record]:
        """The records that were read, oldest first, and those added since."""
        return [*self.result.records, *self._items]

    def append(self, records: Iterable[Record]) -> None:
        """Add records, to be appended on leaving; no request.

        Raises:
            UnstorableMessage: One is no record that could be read back.
        """
        self._add(records)

    def _result_of(self, contents: Contents) -> ReadResult:
        return read_result(self._conversation, contents)

    def _records_of(self, items: list[Record]) -> list[Record]:
        return items
