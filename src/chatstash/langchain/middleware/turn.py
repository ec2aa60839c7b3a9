"""One turn of an agent: the messages its model is shown, and the new messages to append. Pure.

A checkpointer gives the agent the earlier messages of its thread. The thread's `Mark` says which of them are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypedDict
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage

from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langchain.runnable.alignment import AlignedInput, align_input, rewritten_input, start_of_reply
from chatstash.langchain.runnable.tool_messages import removed_calls

SUMMARY = "summarization"
"""The `lc_source` of the message that LangChain's middleware puts in place of those it has summarised."""


class Mark(TypedDict, total=False):
    """Where the stored messages of a thread begin and end; kept in its checkpoints.

    Attributes:
        first: The id of the first message that this thread stored.
        last: The id of its last message that is not new: stored, or passed in only for the model.
        asked: The ids of the new messages of the input, while their turn is not stored.
    """

    first: str
    last: str
    asked: list[str]


class Beginning(NamedTuple):
    """The start of a turn.

    Attributes:
        kept: The messages of the state, without the repeated ones.
        new: The new messages among them.
        repeated: Messages of the input that repeat stored ones under other ids.
        mark: The thread's mark.
    """

    kept: list[BaseMessage]
    new: list[BaseMessage]
    repeated: list[BaseMessage]
    mark: Mark


def begin(window: Sequence[BaseMessage], messages: Sequence[BaseMessage], mark: Mark) -> Beginning:
    """Separate the new messages of an agent's state from stored ones; gives new ones ids, as LangGraph does."""
    stored = _index_of(mark.get("last"), messages) + 1
    known = _ids(window)
    if stored:
        # The thread gave these ids: a message without a stored one is new, whatever its text.
        aligned = AlignedInput([], [message for message in messages[stored:] if message.id not in known])
    else:
        aligned = align_input(window, messages)
    new = aligned.new
    for message in new:
        message.id = message.id or str(uuid4())
    wanted = {id(message) for message in (*messages[:stored], *new, *aligned.instructions)}
    is_kept = [id(message) in wanted or message.id in known for message in messages]
    kept = [message for message, keep in zip(messages, is_kept, strict=True) if keep]
    repeated = [message for message, keep in zip(messages, is_kept, strict=True) if not keep]
    earlier = kept[: next((at for at, message in enumerate(kept) if new and message is new[0]), len(kept))]
    last: Mark = {"last": earlier[-1].id} if earlier and earlier[-1].id else {}
    return Beginning(kept, new, repeated, {**mark, **last, "asked": [message.id for message in new if message.id]})


def shown(window: Sequence[BaseMessage], messages: Sequence[BaseMessage], mark: Mark) -> list[BaseMessage]:
    """Return the messages for the model: the window merged with the agent's own messages, each once.

    Messages of this thread that the agent no longer has were summarised or trimmed by it, and are left out. So is an
    earlier answer to the same question.
    """
    asked = mark.get("asked", [])
    window = window[: next((at for at, message in enumerate(window) if message.id in asked), len(window))]
    places = _places(window, messages, mark)
    left_out = _left_out(window, places, mark)
    merged: list[BaseMessage] = []
    taken = 0
    for at, (message, place) in enumerate(zip(window, places, strict=True)):
        if place is not None:
            merged += messages[taken : place + 1]
            taken = max(taken, place + 1)
        elif at not in left_out:
            merged.append(message)
    return [*merged, *messages[taken:]]


def _places(window: Sequence[BaseMessage], messages: Sequence[BaseMessage], mark: Mark) -> list[int | None]:
    """Return the index at which the agent has each message of the window; None if it does not have it."""
    named = {message.id: at for at, message in enumerate(messages) if message.id}
    # Agents whose messages are a delta channel may have stored ones without ids.
    unnamed: dict[tuple[str, str], list[int]] = {}
    for at in reversed(range(_index_of(mark.get("last"), messages))):
        if not messages[at].id:
            unnamed.setdefault(_said(messages[at]), []).append(at)
    return [
        named[message.id] if message.id in named else held.pop() if (held := unnamed.get(_said(message))) else None
        for message in window
    ]


def _said(message: BaseMessage) -> tuple[str, str]:
    return message.type, str(message.content)


def _left_out(window: Sequence[BaseMessage], places: Sequence[int | None], mark: Mark) -> range:
    if "first" not in mark:
        return range(0)
    first = max(0, _index_of(mark["first"], window))
    held = (at for at, place in enumerate(places) if place is not None)
    return range(first, next(held, _index_of(mark.get("last"), window) + 1))


class Turn:
    """A turn in progress: held by the agent's state while it runs, never in a checkpoint.

    Opaque to LangGraph, which would stream a list of messages as new ones.

    Attributes:
        history: The history; None if this run stores nothing: it is part of an outer run that does, or was redelivered.
        event: The idempotency key of the config, if any.
        window: The earlier messages.
        start: The start of the turn; None if the run was resumed.
    """

    def __init__(
        self,
        history: UpstashRedisChatMessageHistory | None,
        event: str | None = None,
        window: Sequence[BaseMessage] = (),
        start: Beginning | None = None,
    ) -> None:
        self.history, self.event, self.window, self.start = history, event, window, start
        self._seen: dict[str, BaseMessage] = {}
        self._generated: set[str] = set()
        self._kept: set[str] = set()

    def __repr__(self) -> str:
        return f"Turn(earlier messages: {len(self.window)})"

    def saw(self, messages: Iterable[BaseMessage], *, generated: bool = False) -> None:
        """Note messages of the state or, if generated, of a model or tool: others may remove them from the state."""
        for message in messages:
            if message.id:
                self._seen[message.id] = message
                if generated:
                    self._generated.add(message.id)

    def restore(self, kept: Iterable[BaseMessage]) -> None:
        """Note the messages that a checkpoint kept."""
        for message in kept:
            self.saw([message], generated=is_generated(message))
        self._kept |= self._seen.keys()

    def take_unkept(self) -> list[BaseMessage]:
        """Return the messages of this turn that were noted since the last time, without the earlier ones."""
        mine = self._generated | _ids(self.start.new if self.start else ())
        unkept = [message for name, message in self._seen.items() if name in mine - self._kept]
        self._kept |= _ids(unkept)
        return unkept

    def new_messages(self, state: Sequence[BaseMessage], mark: Mark) -> list[BaseMessage]:
        """Return the messages to append at the end of a run, oldest first.

        As the agent has them: middleware that redacts also redacts what is stored. Includes those that middleware
        removed to shorten the context; summaries, instructions and context are left out.
        """
        if self.start is None:
            return self._new_of_resumed(state, mark)
        at = start_of_reply(self.start.kept, state, self._generated)
        reply = self._real(state[at:])
        question = rewritten_input(self.start.new, state[:at], list(self._seen.values()))
        return [*question, *removed_calls(self._seen.values(), reply, self._generated), *reply]

    def _new_of_resumed(self, state: Sequence[BaseMessage], mark: Mark) -> list[BaseMessage]:
        asked = mark.get("asked", [])
        found = self._real(state[_index_of(mark.get("last"), state) + 1 :])
        latest = {**self._seen, **{message.id: message for message in found if message.id}}
        rest = [message for message in found if message.id not in asked]
        reply = rest[next((at for at, message in enumerate(rest) if is_generated(message)), len(rest)) :]
        question = self._real(latest[name] for name in asked if name in latest)
        return [*question, *removed_calls(self._seen.values(), reply, self._generated), *reply]

    def _real(self, messages: Iterable[BaseMessage]) -> list[BaseMessage]:
        known = _ids(self.window)
        return [message for message in messages if message.id not in known and not is_summary(message)]


def advanced(mark: Mark, new: Sequence[BaseMessage], state: Sequence[BaseMessage]) -> Mark:
    """Return the mark after new messages were stored."""
    first = mark.get("first") or next((message.id for message in new if message.id), None)
    last = state[-1].id if state else None
    changed: Mark = {}
    if first:
        changed["first"] = first
    if last:
        changed["last"] = last
    return changed


def removals(state: Sequence[BaseMessage], unwanted: Iterable[BaseMessage]) -> list[RemoveMessage]:
    """Return the removals that take messages out of an agent's state."""
    ids = _ids(unwanted)
    return [RemoveMessage(message.id) for message in state if message.id and message.id in ids]


def is_summary(message: BaseMessage) -> bool:
    """Tell whether a message is a summary of others, made by LangChain's middleware."""
    return message.additional_kwargs.get("lc_source") == SUMMARY


def is_generated(message: object) -> bool:
    """Tell whether a message is the answer of a model or a tool."""
    return isinstance(message, (AIMessage, ToolMessage))


def _ids(messages: Iterable[BaseMessage]) -> set[str]:
    return {message.id for message in messages if message.id}


def _index_of(name: str | None, messages: Sequence[BaseMessage]) -> int:
    """Return the index of the last message with an id; -1 without one."""
    return max((at for at, message in enumerate(messages) if name and message.id == name), default=-1)
