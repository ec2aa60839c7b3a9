"""A guarded turn: read, think, append, and only if nobody else changed the conversation meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar

from chatstash.history.conversation import Conversation
from chatstash.history.operations.read import Contents
from chatstash.history.records.record import Record
from chatstash.history.results import AppendResult
from chatstash.history.selection import Selection

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class GuardedTurn(Generic[ItemT, ResultT]):
    """What the guarded turns of all interfaces share.

    Args:
        conversation: The conversation.
        wanted: Which of its records are read; None for what its options say.
    """

    def __init__(self, conversation: Conversation, wanted: Selection | None = None) -> None:
        self._conversation = conversation
        self._wanted = wanted
        self._contents: Contents | None = None
        self._result: ResultT | None = None
        self._items: list[ItemT] = []
        self._records: list[Record] = []
        self.appended: AppendResult | None = None

    @property
    def result(self) -> ResultT:
        """What reading gave.

        Raises:
            RuntimeError: The turn was not entered.
        """
        if self._result is None:
            raise RuntimeError("a turn is read when it is entered: use it as `with history.guarded_turn() as turn:`")
        return self._result

    def _add(self, items: Iterable[ItemT]) -> None:
        added = list(items)
        records = self._records_of(added)
        # Raises here, where the caller still can mend it, what could not be stored on leaving.
        self._conversation.prepared(records)
        self._items += added
        self._records += records

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

    @contextmanager
    def _appending(self) -> Iterator[None]:
        """What an interface does around the append."""
        yield

    def __enter__(self) -> Self:
        self._begin(self._conversation.read(self._wanted))
        return self

    async def __aenter__(self) -> Self:
        self._begin(await self._conversation.aread(self._wanted))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            with self._appending():
                self.appended = self._conversation.append_unless_changed(self._records, self._read())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            with self._appending():
                self.appended = await self._conversation.aappend_unless_changed(self._records, self._read())
