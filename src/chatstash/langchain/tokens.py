"""The token budget of a read, counted by any token counter of langchain-core's. Pure."""

from __future__ import annotations

import inspect
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, Union

from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from chatstash.errors import CorruptRecord, UnreadableRecord
from chatstash.history.codec import placeholder_record
from chatstash.history.records.record import Entry, Record
from chatstash.history.tool_calls.formats import may_hold_calls_or_results
from chatstash.history.tool_calls.view import View, apply_view
from chatstash.history.values.options import MOST_MESSAGES, OnCorrupt, checked_whole
from chatstash.history.values.selection import Page, Selection, TokenWindow, Window
from chatstash.langchain.messages import to_message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseLanguageModel

TokenCounter: TypeAlias = Union[
    Callable[[list[BaseMessage]], int], Callable[[BaseMessage], int], "BaseLanguageModel[Any]", Literal["approximate"]
]
"""What langchain-core's `trim_messages` takes: a function of a list of messages or, if its parameter is annotated so,
of one message; a language model; or `"approximate"`."""

ListCounter: TypeAlias = Callable[[list[BaseMessage]], int]

_MAX_TOKENS = 10**9
_TOKENS_PER_MESSAGE = 100  # an estimate, for how many messages to fetch first
_MIN_FIRST, _MAX_FIRST = 8, 1000


def list_counter(token_counter: TokenCounter | None) -> ListCounter:
    """Return a token counter as a function of a list of messages; None stands for "approximate".

    Raises:
        ValueError: It is not a token counter.
    """
    if token_counter in (None, "approximate"):
        return count_tokens_approximately
    of_model = getattr(token_counter, "get_num_tokens_from_messages", None)
    if of_model is not None:
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


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """How many tokens the messages of a read may have together.

    Attributes:
        max_tokens: The budget; None for no budget.
        token_counter: Counts tokens; None for "approximate".

    Raises:
        ValueError: One of them is invalid.
    """

    max_tokens: int | None = None
    token_counter: TokenCounter | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            checked_whole("max_tokens", self.max_tokens, 1, _MAX_TOKENS)
        list_counter(self.token_counter)

    def changed(self, max_tokens: int | None, token_counter: TokenCounter | None) -> TokenBudget:
        """Return this budget with changes; None keeps a value.

        Raises:
            ValueError: There is a counter but no budget, or one of them is invalid.
        """
        budget = self.max_tokens if max_tokens is None else max_tokens
        if budget is None and token_counter is not None:
            raise ValueError("token_counter= requires max_tokens=")
        return TokenBudget(budget, self.token_counter if token_counter is None else token_counter)

    def selection(self, wanted: Selection, on_corrupt: OnCorrupt) -> Selection:
        """Return the part of a selection that fits the budget.

        Args:
            wanted: The selection.
            on_corrupt: As of the conversation's options; a placeholder counts.

        Raises:
            ValueError: The selection is a page.
        """
        if self.max_tokens is None:
            return wanted
        if isinstance(wanted, Page):
            raise ValueError("give either max_tokens= or before=, not both: limit= is the size of a page")
        assert not isinstance(wanted, TokenWindow)
        within = wanted if isinstance(wanted, Window) else Window(MOST_MESSAGES, wanted.keep_system, wanted.view)
        view = within.view._replace(tool_calls=within.view.tool_calls or "paired")
        first = min(max(_MIN_FIRST, self.max_tokens // _TOKENS_PER_MESSAGE), _MAX_FIRST)
        fit = _BudgetFit(self.max_tokens, list_counter(self.token_counter), on_corrupt, view)
        return TokenWindow(within._replace(view=view), first, fit.count)


class _Converted(NamedTuple):
    """A record, or the placeholder of one, and its message."""

    record: Record
    message: BaseMessage


class _BudgetFit:
    """Counts how many messages fit a budget; converts each record once."""

    def __init__(self, max_tokens: int, counter: ListCounter, on_corrupt: OnCorrupt, view: View) -> None:
        self._max_tokens = max_tokens
        self._counter = counter
        self._on_corrupt = on_corrupt
        # As in trim_messages, `start_on` applies to the messages that fit.
        self._view = view._replace(start_on=())
        self._converted: dict[int, tuple[Entry, list[_Converted]]] = {}

    def count(self, system: Entry | None, entries: Sequence[Entry]) -> int:
        """Return how many of the newest entries fit together with the system message."""
        before = [] if system is None else [each.message for each in self._convert(system)]
        converted = [self._convert(entry) for entry in entries]
        messages_of = self._paired if self._needs_pairs(converted) else _messages

        def fits(left_out: int) -> bool:
            newest = messages_of([one for each in converted[left_out:] for one in each])
            return self._fits([*before, *newest])

        if not entries or fits(0):
            return len(entries)
        # The more are left out, the fewer tokens: False comes before True.
        left_out = bisect_left(range(len(entries)), True, key=fits)
        # An unreadable record has no tokens, but the messages must not begin with one.
        starts = (place for place in range(left_out, len(entries)) if converted[place])
        return len(entries) - next(starts, len(entries))

    def _fits(self, messages: list[BaseMessage]) -> bool:
        tokens = self._counter(messages)
        try:
            return tokens <= self._max_tokens
        except TypeError:
            raise ValueError(f"token_counter must return a number, not {tokens!r:.80}") from None

    def _needs_pairs(self, converted: Sequence[Sequence[_Converted]]) -> bool:
        return self._view.tool_calls != "stored" and any(
            may_hold_calls_or_results(one.record) for each in converted for one in each
        )

    def _paired(self, converted: Sequence[_Converted]) -> list[BaseMessage]:
        """Return the messages that a model gets: each tool call with its result."""
        known = {id(one.record): one.message for one in converted}
        records = apply_view([one.record for one in converted], self._view).entries
        return [known.get(id(record)) or to_message(record) for record in records if isinstance(record, Record)]

    def _convert(self, entry: Entry) -> list[_Converted]:
        # The entry is kept, so that no other gets its id.
        if id(entry) not in self._converted:
            self._converted[id(entry)] = entry, self._converted_entry(entry)
        return self._converted[id(entry)][1]

    def _converted_entry(self, entry: Entry) -> list[_Converted]:
        if not isinstance(entry, UnreadableRecord):
            try:
                return [_Converted(entry, to_message(entry))]
            except CorruptRecord as error:
                entry = error
        if self._on_corrupt != "placeholder":
            return []
        record = placeholder_record(entry)
        return [_Converted(record, to_message(record))]


def _messages(converted: Sequence[_Converted]) -> list[BaseMessage]:
    return [one.message for one in converted]
