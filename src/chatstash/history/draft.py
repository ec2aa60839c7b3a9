"""A draft: a reply that is stored while it is written, beside the conversation, and appended when it is complete."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from chatstash.errors import Applied, ChatstashError, DatabaseError
from chatstash.history.operations.append import append
from chatstash.history.operations.draft import drop_draft, dropping, write_draft
from chatstash.history.records.drafts import TTL, field_of
from chatstash.history.records.timed_names import new_name
from chatstash.history.runner import Runner, Work
from chatstash.history.values.results import AppendResult
from chatstash.rest.limits import Budget, is_number
from chatstash.rest.ops import Op

ItemT = TypeVar("ItemT")

LEAST_INTERVAL, MOST_INTERVAL = 0.5, 3600.0
"""Seconds between two writes."""

_WRITE_SECONDS = 5.0

_log = logging.getLogger("chatstash")


class Draft(Generic[ItemT]):
    """A reply that is being written, for `with` or `async with`; get one from `draft()` of a session. Used once.

    While the reply grows, its new text is stored beside the conversation, where `read_draft` finds it from any process.
    Other readers of the conversation do not see it. Leaving the block appends the whole reply and drops the draft, in
    one step. If the block raises, nothing is appended, and what was written stays as a draft for an hour.

    A write takes one request and one command; the first takes three commands, and every fifteen minutes one takes two.
    Dropping the draft is one more command of the append. If a write fails, that is logged, and the next one sends its
    text again: the reply does not wait for its draft.

    Args:
        session: The session.
        every: Seconds between two writes, at least 0.5.
        clock: Returns a number of seconds that only grows.

    Attributes:
        appended: The result of the append, once the block is left.

    Raises:
        ValueError: `every` is invalid; nothing was sent.
    """

    def __init__(self, session: Runner[ItemT], every: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not is_number(every) or not LEAST_INTERVAL <= every <= MOST_INTERVAL:
            raise ValueError(
                f"every must be a number of seconds from {LEAST_INTERVAL} to {MOST_INTERVAL}, not {every!r}"
            )
        self._session = session
        self._every = every
        self._clock = clock
        self._writer = new_name()
        self._text = ""
        self._written = 0
        self._fields: list[str] = []
        self._next_write = self._next_expiry = float("-inf")
        self._is_over = False
        self.appended: AppendResult | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text

    def update(self, chunk: Any) -> None:
        """Add text, or a chunk of a message, to the reply; one request if one is due.

        Raises:
            ValueError: It is neither; nothing was added.
            RuntimeError: The block was left.
        """
        self._add(chunk)
        if (work := self._due()) is not None:
            self._written_or_logged(work)

    async def aupdate(self, chunk: Any) -> None:
        """Add to the reply as `update` does, without blocking the event loop."""
        self._add(chunk)
        if (work := self._due()) is not None:
            await self._awritten_or_logged(work)

    def finish(self, items: Iterable[ItemT] | None = None, *, idempotency_key: str | None = None) -> None:
        """Append the reply and drop the draft, in one step: what leaving the block does.

        If it fails and the error says that nothing was appended, it can be called again. A draft that was finished is
        not appended again.

        Args:
            items: What to append in place of the reply.
            idempotency_key: A name for this append, as for `Session.append`.
        """
        if not self._is_over:
            with self._ending():
                self.appended = self._session.run(self._finishing(items, idempotency_key))

    async def afinish(self, items: Iterable[ItemT] | None = None, *, idempotency_key: str | None = None) -> None:
        """Append the reply as `finish` does, without blocking the event loop."""
        if not self._is_over:
            with self._ending():
                self.appended = await self._session.arun(self._finishing(items, idempotency_key))

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """End the draft, unless it is certain that the reply was not appended: then it may be finished again."""
        self._is_over = True
        try:
            yield
        except (ChatstashError, ValueError) as error:
            self._is_over = getattr(error, "applied", Applied.NO) is not Applied.NO
            raise

    def is_due(self) -> bool:
        """Tell whether the next change of the text is written."""
        return not self._is_over and self._clock() >= self._next_write

    def rewrite(self, text: str) -> None:
        """Set the whole text so far; one request if a write is due. It need not continue the text before."""
        self._set(text)
        if (work := self._due()) is not None:
            self._written_or_logged(work)

    async def arewrite(self, text: str) -> None:
        """Set the whole text as `rewrite` does, without blocking the event loop."""
        self._set(text)
        if (work := self._due()) is not None:
            await self._awritten_or_logged(work)

    def text_of(self, chunk: Any) -> str:
        """Return the text of a chunk; an adapter's draft knows the chunks of its framework."""
        if not isinstance(chunk, str):
            raise ValueError(f"a draft takes text, not {type(chunk).__name__}; nothing was added")
        return chunk

    def items(self) -> list[ItemT]:
        """Return the items of the reply; none without text."""
        return [self._session.codec.from_text(self._text)] if self._text else []

    def _add(self, chunk: Any) -> None:
        if self._is_over:
            raise RuntimeError("the draft is over: nothing was added; begin another with draft()")
        self._text += self.text_of(chunk)

    def _set(self, text: str) -> None:
        if not text.startswith(self._text[: self._written]):
            self._writer, self._written = new_name(), 0
        self._text = text

    def _due(self) -> Work[None] | None:
        """Return the write that is due, or None."""
        now = self._clock()
        if now < self._next_write or len(self._text) == self._written:
            return None
        self._next_write = now + self._every
        return self._writing(now)

    def _writing(self, now: float) -> Work[None]:
        ttl = None
        if now >= self._next_expiry:
            ttl = min(TTL, self._session.options.ttl or TTL)
            self._next_expiry = now + ttl / 4
        field = field_of(self._writer, self._written)
        if field not in self._fields:
            self._fields.append(field)
        # UTF-8 cannot encode half a surrogate pair, which the next part may complete.
        part = self._text[self._written :].encode(errors="replace").decode()
        op = write_draft(self._session.key, field, part, ttl, is_first=self._written == 0)
        return self._session.work("write_draft", op, Budget(timeout=_WRITE_SECONDS, retries=0))

    def _written_or_logged(self, work: Work[None]) -> None:
        length = len(self._text)
        try:
            self._session.run(work)
        except DatabaseError as error:
            self._log(error)
        else:
            self._written = length

    async def _awritten_or_logged(self, work: Work[None]) -> None:
        length = len(self._text)
        try:
            await self._session.arun(work)
        except DatabaseError as error:
            self._log(error)
        else:
            self._written = length

    def _log(self, error: DatabaseError) -> None:
        self._next_expiry = float("-inf")
        _log.warning("The draft of %r could not be written; its text is sent again. %s", self._session.key, error)

    def _finishing(self, items: Iterable[ItemT] | None, idempotency_key: str | None) -> Work[AppendResult]:
        session = self._session
        records = session.records_of(self.items() if items is None else items)
        budget = session.options.retry_policy.append
        if not records:
            return session.work("drop_draft", self._dropping(), budget)
        ready = session.prepared(records, idempotency_key)
        if self._fields:
            ready = replace(ready, also=dropping(session.key, self._fields))
        return session.appending(ready, append(ready))

    def _dropping(self) -> Op[AppendResult]:
        if self._fields:
            yield from drop_draft(self._session.key, self._fields)
        return AppendResult(length=None, record_ids=[])

    def _leaving(self) -> Work[None] | None:
        """End the draft; return the write that leaves the whole text so far for `read_draft`, or None."""
        if self._is_over:
            return None
        self._is_over = True
        return None if len(self._text) == self._written else self._writing(self._clock())

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif (work := self._leaving()) is not None:
            self._written_or_logged(work)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.afinish()
        elif (work := self._leaving()) is not None:
            await self._awritten_or_logged(work)
