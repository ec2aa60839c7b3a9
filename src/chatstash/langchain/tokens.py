"""How many of a conversation's newest messages a model has room for, by any token counter of langchain-core's. Pure."""

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
from chatstash.history.options import MOST_MESSAGES, OnCorrupt, check_whole
from chatstash.history.records.record import Entry, Record
from chatstash.history.selection import Page, Selection, TokenWindow, Window
from chatstash.history.tool_calls.formats import may_hold_calls_or_results
from chatstash.history.tool_calls.view import View, apply_view
from chatstash.langchain.messages import to_message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseLanguageModel

TokenCounter: TypeAlias = Union[
    Callable[[list[BaseMessage]], int], Callable[[BaseMessage], int], "BaseLanguageModel[Any]", Literal["approximate"]
]
"""What langchain-core's `trim_messages` takes: a function of a list of messages or, where its parameter is annotated
so, of one; a model; or `"approximate"`."""

_MOST_TOKENS = 10**9
_FEWEST_FIRST, _MOST_FIRST = 8, 1000
_TOKENS_OF_A_MESSAGE = 100
"""What a message is thought to have until it is known; from it, how many to ask for first."""


def list_counter(token_counter: TokenCounter | None) -> Callable[[list[BaseMessage]], int]:
    """Return the function of a list of messages that a token counter is; langchain-core's approximate one for None.

    Raises:
        ValueError: It is no token counter.
    """
    if token_counter in (None, "approximate"):
        return count_tokens_approximately
    of_a_model = getattr(token_counter, "get_num_tokens_from_messages", None)
    if of_a_model is not None:
        return of_a_model  # type: ignore[no-any-return]
    if not callable(token_counter):
        raise ValueError(f"token_counter must be a function, a language model or 'approximate', not {token_counter!r}")
    if _is_of_one_message(token_counter):
        return lambda messages: sum(map(token_counter, messages))  # type: ignore[arg-type]
    return token_counter  # type: ignore[return-value]


def _is_of_one_message(counter: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(counter).parameters
    except (TypeError, ValueError):
        return False
    first = next(iter(parameters.values()), None)
    return first is not None and first.annotation in (BaseMessage, "BaseMessage")


@dataclass(frozen=True, slots=True)
class TokenLimit:
    """How many tokens the messages that are read may have together.

    Attributes:
        max_tokens: How many; None for no bound.
        token_counter: Counts them; None for langchain-core's approximate counter.

    Raises:
        ValueError: One of them cannot be right.
    """

    max_tokens: int | None = None
    token_counter: TokenCounter | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            check_whole("max_tokens", self.max_tokens, 1, _MOST_TOKENS)
        list_counter(self.token_counter)

    def changed(self, max_tokens: int | None, token_counter: TokenCounter | None) -> TokenLimit:
        """Return this limit with what is given changed; None keeps what is.

        Raises:
            ValueError: A counter is given and nothing to count up to, or one of them cannot be right.
        """
        most = self.max_tokens if max_tokens is None else max_tokens
        if most is None and token_counter is not None:
            raise ValueError("token_counter= goes with max_tokens=")
        return TokenLimit(most, self.token_counter if token_counter is None else token_counter)

    def selection(self, wanted: Selection, on_corrupt: OnCorrupt) -> Selection:
        """Return what fits of what is wanted.

        Args:
            wanted: What is wanted.
            on_corrupt: What stands in for a record that cannot be read: a placeholder, which is counted, or nothing.

        Raises:
            ValueError: A page is wanted: that is for a person, not for a model.
        """
        if self.max_tokens is None:
            return wanted
        if isinstance(wanted, Page):
            raise ValueError(
                "give either max_tokens= or before=, not both: a page is measured in messages, with limit="
            )
        assert not isinstance(wanted, TokenWindow)
        within = wanted if isinstance(wanted, Window) else Window(MOST_MESSAGES, wanted.keep_system, wanted.view)
        view = within.view._replace(tool_calls=within.view.tool_calls or "paired")
        first = min(max(_FEWEST_FIRST, self.max_tokens // _TOKENS_OF_A_MESSAGE), _MOST_FIRST)
        room = _Room(self.max_tokens, list_counter(self.token_counter), on_corrupt, view)
        return TokenWindow(within._replace(view=view), first, room.count)


class _Made(NamedTuple):
    """What is given of an entry: its record, or what stands in for it, and its message."""

    record: Record
    message: BaseMessage


class _Room:
    """Counts how many messages fit; makes each message once."""

    def __init__(
        self,
        max_tokens: int,
        counter: Callable[[list[BaseMessage]], int],
        on_corrupt: OnCorrupt,
        view: View,
    ) -> None:
        self._max_tokens = max_tokens
        self._counter = counter
        self._on_corrupt = on_corrupt
        # What it begins with is chosen among what fits, as trim_messages does.
        self._view = view._replace(start_on=())
        self._made: dict[int, tuple[Entry, list[_Made]]] = {}

    def count(self, system: Entry | None, entries: Sequence[Entry]) -> int:
        """Return how many of the entries, the newest, fit beside the system message."""
        before = [] if system is None else [made.message for made in self._all_made(system)]
        all_made = [self._all_made(entry) for entry in entries]
        given = self._given if self._needs_pairs(all_made) else _messages_of

        def has_no_room(left_out: int) -> bool:
            newest = given([one for made in all_made[left_out:] for one in made])
            return self._are_too_many([*before, *newest])

        if not entries or not has_no_room(0):
            return len(entries)
        # The more are left out, the fewer tokens: False comes after True.
        left_out = bisect_left(range(len(entries)), True, key=lambda count: not has_no_room(count))
        # What cannot be read has no tokens, and is no beginning.
        beginnings = (place for place in range(left_out, len(entries)) if all_made[place])
        return len(entries) - next(beginnings, len(entries))

    def _are_too_many(self, messages: list[BaseMessage]) -> bool:
        tokens = self._counter(messages)
        try:
            return tokens > self._max_tokens
        except TypeError:
            raise ValueError(f"token_counter must return a number, not {tokens!r:.80}") from None

    def _needs_pairs(self, all_made: Sequence[Sequence[_Made]]) -> bool:
        return self._view.tool_calls != "stored" and any(
            may_hold_calls_or_results(one.record) for made in all_made for one in made
        )

    def _given(self, made: Sequence[_Made]) -> list[BaseMessage]:
        """Return the messages that a model is given: each call with its result."""
        known = {id(one.record): one.message for one in made}
        records = apply_view([one.record for one in made], self._view).entries
        return [known.get(id(record)) or to_message(record) for record in records if isinstance(record, Record)]

    def _all_made(self, entry: Entry) -> list[_Made]:
        # The entry is kept as well, so that no other has its id.
        if id(entry) not in self._made:
            self._made[id(entry)] = entry, self._made_of(entry)
        return self._made[id(entry)][1]

    def _made_of(self, entry: Entry) -> list[_Made]:
        if not isinstance(entry, UnreadableRecord):
            try:
                return [_Made(entry, to_message(entry))]
            except CorruptRecord as error:
                entry = error
        if self._on_corrupt != "placeholder":
            return []
        record = placeholder_record(entry)
        return [_Made(record, to_message(record))]


def _messages_of(made: Sequence[_Made]) -> list[BaseMessage]:
    return [one.message for one in made]
