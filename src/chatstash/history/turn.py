"""A guarded turn: read, think, append, and only if nobody else changed the conversation meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from chatstash.errors import ConcurrentTurn
from chatstash.history.reads import Contents
from chatstash.history.records import Record
from chatstash.history.results import AppendResult, ReadResult

if TYPE_CHECKING:
    from chatstash.history.session import Session

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class GuardedTurn(Generic[ItemT, ResultT]):
    """What the guarded turns of all interfaces share.

    Args:
        session: The conversation.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._contents: Contents | None = None
        self._result: ResultT | None = None
        self._added: list[ItemT] = []
        self.appended: AppendResult | None = None

    @property
    def result(self) -> ResultT:
        """What reading gave.

        Raises:
            RuntimeError: The turn was not entered.
        """
        if self._result is None:
            raise RuntimeError("a turn is read when it is entered: use it as `with history.turn() as turn:`")
        return self._result

    def _add(self, items: Iterable[ItemT]) -> None:
        added = list(items)
        self._records_of(added)  # raises here, where the caller still can mend it, what could not be stored
        self._added.extend(added)

    def _begin(self, contents: Contents) -> None:
        if self._contents is not None:
            raise RuntimeError("a turn is used once: ask for another with turn()")
        self._contents, self._result = contents, self._result_of(contents)

    def _read(self) -> Contents:
        assert self._contents is not None
        return self._contents

    def _result_of(self, contents: Contents) -> ResultT:
        raise NotImplementedError

    def _records_of(self, items: list[ItemT]) -> list[Record]:
        raise NotImplementedError

    def _explain(self, error: ConcurrentTurn) -> None:
        """Add to an error what the interface knows of it."""

    def _watched(self) -> AbstractContextManager[None]:
        """Return what the append runs within, to tell of its errors."""
        return nullcontext()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ConcurrentTurn as error:
            self._explain(error)
            raise

    def __enter__(self) -> Self:
        self._begin(self._session.contents())
        return self

    async def __aenter__(self) -> Self:
        self._begin(await self._session.acontents())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            with self._watched(), self._explained():
                self.appended = self._session.append_unless_changed(self._records_of(self._added), self._read())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            with self._watched(), self._explained():
                self.appended = await self._session.aappend_unless_changed(self._records_of(self._added), self._read())


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
        return [*self.result.records, *self._added]

    def append(self, records: Iterable[Record]) -> None:
        """Add records, to be appended on leaving; no request.

        Raises:
            UnstorableMessage: One is no record that could be read back.
        """
        self._add(records)

    def _result_of(self, contents: Contents) -> ReadResult:
        return self._session.result_of(contents)

    def _records_of(self, items: list[Record]) -> list[Record]:
        self._session.prepared(items)
        return items
