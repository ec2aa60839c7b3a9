"""A guarded turn: read, think, and append only if nobody else changed the conversation meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from chatstash.errors import ConcurrentTurn
from chatstash.history.operations.contents import Contents
from chatstash.history.records.encoding import with_metadata
from chatstash.history.records.message_id import MessageId, named
from chatstash.history.records.record import Record
from chatstash.history.runner import Runner, Work
from chatstash.history.values.results import AppendResult, ReadResult
from chatstash.history.values.selection import Selection

ItemT = TypeVar("ItemT")


class GuardedTurn(Generic[ItemT]):
    """A guarded turn of a session, for `with` or `async with`; get one from `Session.guarded_turn`. Used once.

    Entering reads the conversation, with one request. Leaving appends the added items, with one request, if nobody
    else changed the conversation meanwhile. Otherwise it raises `ConcurrentTurn` and appends nothing. If the block
    raises, nothing is appended either.

    With `replacing`, the turn reads up to before that message. On leaving, the added items take the place of that
    message and all newer ones, in one step. What they replace becomes an alternative of them. If nothing was added,
    nothing is replaced.

    Args:
        session: The session.
        selection: The records to read.
        replacing: The message to replace; None to append.

    Attributes:
        appended: The result of the append, once the turn is left.

    Raises:
        ConcurrentTurn: On leaving: others appended to the conversation or cleared it; has the records they appended.
        MessageNotFound: On entering: the message to replace is not there.
    """

    def __init__(self, session: Runner[ItemT], selection: Selection, replacing: MessageId | None = None) -> None:
        self._session = session
        self._selection = selection
        self._replacing = None if replacing is None else named(replacing)
        self._contents: Contents | None = None
        self._result: ReadResult[ItemT] | None = None
        self._items: list[ItemT] = []
        self._records: list[Record] = []
        self._is_over = False
        self.appended: AppendResult | None = None

    @property
    def result(self) -> ReadResult[ItemT]:
        """The result of the read.

        Raises:
            RuntimeError: The turn was not entered.
        """
        if self._result is None:
            raise RuntimeError("a guarded turn reads when it is entered: write `with history.guarded_turn() as turn:`")
        return self._result

    @property
    def items(self) -> list[ItemT]:
        """The items that were read, oldest first, followed by those added since."""
        return [*self.result.items, *self._items]

    def append(self, items: Iterable[ItemT], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Add items, to be appended on leaving; no request.

        Args:
            items: The items, oldest first.
            metadata: The application's own data, stored with each of them; see `Session.append`.

        Raises:
            RuntimeError: The turn is over; nothing was added.
            UnstorableMessage: An item cannot be stored.
            ValueError: The turn has more items than `max_stored_messages`.
        """
        if self._is_over:
            raise RuntimeError("the guarded turn is over: nothing was added; begin another with guarded_turn()")
        added = list(items)
        records = with_metadata(self._session.records_of(added), metadata)
        # An item that cannot be stored raises here, while the caller can still replace it.
        self._session.prepared([*self._records, *records])
        self._items += added
        self._records += records

    def _begin(self, contents: Contents) -> None:
        if self._contents is not None:
            raise RuntimeError("a guarded turn is used once: ask for another with guarded_turn()")
        self._contents, self._result = contents, self._session.result_of(contents)

    def _reading(self) -> Work[Contents]:
        if self._replacing is None:
            return self._session.reading(self._selection)
        return self._session.reading_before(self._replacing, self._selection)

    def _append(self) -> Work[AppendResult]:
        assert self._contents is not None
        return self._session.appending_unless_changed(self._records, self._contents, self._replacing)

    @contextmanager
    def _appending(self) -> Iterator[None]:
        """Let the error of a concurrent change carry the items that others appended."""
        try:
            yield
        except ConcurrentTurn as error:
            error.messages = self._session.readable_items(error.records)
            raise

    def __enter__(self) -> Self:
        self._begin(self._session.run(self._reading()))
        return self

    async def __aenter__(self) -> Self:
        self._begin(await self._session.arun(self._reading()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        if kind is None:
            with self._appending():
                self.appended = self._session.run(self._append())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        if kind is None:
            with self._appending():
                self.appended = await self._session.arun(self._append())
