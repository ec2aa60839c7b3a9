"""The token budget of a read, counted by any token counter of langchain-core's. Pure."""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from chatstash.errors import CorruptRecord, UnreadableRecord
from chatstash.history.codec import placeholder_record
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.formats import may_hold_calls_or_results
from chatstash.history.tool_calls.view import View, apply_view
from chatstash.history.values.options import MOST_MESSAGES, OnCorrupt, checked_whole
from chatstash.history.values.selection import Page, TokenWindow, Whole, Window
from chatstash.langchain.messages import to_message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseLanguageModel

TokenCounter: TypeAlias = Union[
    Callable[[list[BaseMessage]], int], Callable[[BaseMessage], int], "BaseLanguageModel[Any]", Literal["approximate"]
]
"""What langchain-core's `trim_messages` takes: a function of a list of messages or, if its parameter is annotated so,
of one message; a language model; or `"approximate"`."""

_ListCounter: TypeAlias = Callable[[list[BaseMessage]], int]

_MAX_TOKENS = 10**9
_TOKENS_PER_MESSAGE = 100  # an estimate, for how many messages to fetch first
_MIN_FIRST, _MAX_FIRST = 8, 1000


def check_budget(max_tokens: int | None, token_counter: TokenCounter | None) -> None:
    """Raise ValueError if a token budget or its counter is invalid."""
    if max_tokens is not None:
        checked_whole("max_tokens", max_tokens, 1, _MAX_TOKENS)
    _list_counter(token_counter)


def within_tokens(
    wanted: Window | Whole | Page, max_tokens: int, token_counter: TokenCounter | None, on_corrupt: OnCorrupt
) -> TokenWindow:
    """Return the part of a selection that fits a token budget; ValueError for a page, or if the budget is invalid."""
    check_budget(max_tokens, token_counter)
    if isinstance(wanted, Page):
        raise ValueError("give either max_tokens= or before=, not both: limit= is the size of a page")
    within = Window(MOST_MESSAGES, wanted.keep_system, wanted.view) if isinstance(wanted, Whole) else wanted
    view = within.view._replace(tool_calls=within.view.tool_calls or "paired")
    first = min(max(_MIN_FIRST, max_tokens // _TOKENS_PER_MESSAGE), _MAX_FIRST)
    fit = _BudgetFit(max_tokens, _list_counter(token_counter), on_corrupt, view)
    return TokenWindow(within._replace(view=view), first, fit.count)


def _list_counter(token_counter: TokenCounter | None) -> _ListCounter:
    """Return a token counter as a function of a list of messages; None stands for "approximate"."""
    if token_counter in (None, "approximate"):
        return count_tokens_approximately
    if (of_model := getattr(token_counter, "get_num_tokens_from_messages", None)) is not None:
        return of_model  # type: ignore[no-any-return]
    if not callable(token_counter):
        raise ValueError(f"token_counter must be a function, a language model or 'approximate', not {token_counter!r}")
    if _takes_one_message(token_counter):
        return lambda messages: sum(map(token_counter, messages))  # type: ignore[arg-type]
    return token_counter  # type: ignore[return-value]


def _takes_one_message(counter: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(counter).parameters
    except (TypeError, ValueError):
        return False
    first = next(iter(parameters.values()), None)
    return first is not None and first.annotation in (BaseMessage, "BaseMessage")


class _BudgetFit:
    """Counts how many messages fit a budget; converts each record once."""

    def __init__(self, max_tokens: int, counter: _ListCounter, on_corrupt: OnCorrupt, view: View) -> None:
        self._max_tokens = max_tokens
        self._counter = counter
        self._on_corrupt = on_corrupt
        # As in trim_messages, `start_on` applies to the messages that fit.
        self._view = view._replace(start_on=())
        self._converted: dict[int, tuple[Record, BaseMessage]] = {}

    def count(self, system: Entry | None, entries: Sequence[Entry]) -> int:
        """Return how many of the newest entries fit together with the system message."""
        before = [] if system is None else _present([self._record(system)])
        records = [self._record(entry) for entry in entries]
        needs_pairs = self._view.tool_calls != "stored" and any(map(may_hold_calls_or_results, _present(records)))

        def fits(left_out: int) -> bool:
            newest: Sequence[Entry] = _present(records[left_out:])
            shown = apply_view(newest, self._view).entries if needs_pairs else newest
            return self._fits([*before, *(entry for entry in shown if isinstance(entry, Record))])

        if not entries or fits(0):
            return len(entries)
        # The more are left out, the fewer tokens: False comes before True.
        left_out = bisect_left(range(len(entries)), True, key=fits)
        # An unreadable record has no tokens, but the messages must not begin with one.
        starts = (place for place in range(left_out, len(entries)) if records[place] is not None)
        return len(entries) - next(starts, len(entries))

    def _fits(self, records: Sequence[Record]) -> bool:
        tokens = self._counter([self._message(record) for record in records])
        try:
            return tokens <= self._max_tokens
        except TypeError:
            raise ValueError(f"token_counter must return a number, not {tokens!r:.80}") from None

    def _record(self, entry: Entry) -> Record | None:
        """Return the record that counts for an entry: itself, a placeholder if it cannot be read, or None."""
        if not isinstance(entry, UnreadableRecord):
            try:
                self._message(entry)
            except CorruptRecord as error:
                entry = error
            else:
                return entry
        return placeholder_record(entry) if self._on_corrupt == "placeholder" else None

    def _message(self, record: Record) -> BaseMessage:
        # The record is kept, so that no other gets its id.
        if id(record) not in self._converted:
            self._converted[id(record)] = record, to_message(record)
        return self._converted[id(record)][1]


def _present(records: Sequence[Record | None]) -> list[Record]:
    return [record for record in records if record is not None]
