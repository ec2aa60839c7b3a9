"""The turn of a run, as workflows that yield what is waited for: written once for blocking callers and asyncio."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs, patch_config

from chatstash.errors import IdempotencyConflict, ReplyGone, ReplyNotStored
from chatstash.history.records.keys import checked_idempotency_key
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langchain.inputs_outputs import Keys, is_graph
from chatstash.langchain.recorder import RunRecorder
from chatstash.langchain.redelivery import replayed
from chatstash.langchain.run_messages import Exchange, Output, Question
from chatstash.langchain.session_config import HistoryLookup, MessageHistory
from chatstash.langchain.stream_parts import added_up
from chatstash.langchain.write_errors import reply_attached

T = TypeVar("T")

IDEMPOTENCY_KEY = ConfigurableFieldSpec(
    id="idempotency_key",
    annotation=str | None,
    name="Idempotency key",
    description="The id of the event that is answered; an event that is delivered again is answered once.",
    default=None,
    is_shared=True,
)

_log = logging.getLogger("chatstash")


class Step(NamedTuple):
    """What a workflow waits for.

    Attributes:
        blocking: Does it, and blocks.
        awaited: Does it for asyncio.
        writes: Whether it goes on where its caller is cancelled.
    """

    blocking: Callable[[], Any]
    awaited: Callable[[], Coroutine[Any, Any, Any]]
    writes: bool = False


Steps: TypeAlias = Generator[Step, Any, T]


class Choices(NamedTuple):
    """What is chosen for all runs.

    Attributes:
        keys: Where dicts hold messages.
        keep_partial: Whether a turn is stored whose reader stopped.
        return_unstored: Whether a reply that could not be stored is returned all the same.
        store_rewritten: Whether a question is stored in the form that the output has.
    """

    keys: Keys
    keep_partial: bool
    return_unstored: bool
    store_rewritten: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that has begun.

    Attributes:
        given: The input for the runnable.
        replayed: Whether the event was answered before, so that the runnable is not called.
        reply: What it was answered with.
    """

    given: Any = None
    replayed: bool = False
    reply: Any = None


class Turn:
    """The turn of one run: begun, then ended or stopped.

    Args:
        runnable: What answers.
        lookup: Finds the history.
        choices: What is chosen for all runs.
        value: The input.
        config: The config of the run.

    Attributes:
        config: The config for the runnable, once the turn has begun.

    Raises:
        ValueError: The input is none of the shapes permitted, or the idempotency key is no text.
    """

    def __init__(
        self, runnable: Runnable[Any, Any], lookup: HistoryLookup, choices: Choices, value: Any, config: RunnableConfig
    ) -> None:
        self.config = config
        self._runnable = runnable
        self._lookup = lookup
        self._choices = choices
        self._question = Question.of(choices.keys, value)
        self._event = _event_of(config, lookup)
        self._run = RunRecorder()
        self._history: MessageHistory
        self._exchange: Exchange

    def begin(self) -> Steps[Begun]:
        """Find and read the history; with an idempotency key, ask first whether the event was answered."""
        configurable = self.config.get("configurable", {})
        self._history = yield Step(partial(self._lookup.find, configurable), partial(self._lookup.afind, configurable))
        if self._event is not None and (stored := (yield self._asking())) is not None:
            return Begun(replayed=True, reply=self._replayed(stored))
        history = self._history
        messages = yield Step(lambda: history.messages, history.aget_messages)
        self._exchange = self._question.after(messages)
        self.config = self._inner_config()
        return Begun(self._exchange.given)

    def end(self, output: Any) -> Steps[Any]:
        """Append the turn; return its reply: the output, or what another delivery of the event stored meanwhile."""
        done = Output(output, is_graph(self._runnable))
        return (yield from self._stored(output, partial(self._ended, done)))

    def end_stream(self, parts: Sequence[Any]) -> Steps[Any]:
        """Append the turn of a stream as `end` does."""
        done = Output(added_up(parts), is_graph(self._runnable), parts)
        return (yield from self._stored(done.value, partial(self._ended, done)))

    def stopped(self, parts: Sequence[Any]) -> list[BaseMessage]:
        """Return what to keep of a turn whose reader stopped after these parts of a stream."""
        if not self._choices.keep_partial:
            return []
        of_graph, as_rewritten = is_graph(self._runnable), self._choices.store_rewritten
        return self._exchange.stopped(parts, self._run, of_graph=of_graph, as_rewritten=as_rewritten)

    def keep(self, parts: Sequence[Any], kept: list[BaseMessage]) -> Steps[None]:
        """Append what is kept of a turn whose reader stopped."""
        if kept:
            yield from self._stored(list(parts), lambda: kept)

    def _ended(self, output: Output) -> list[BaseMessage]:
        try:
            return self._exchange.ended(output, self._run, as_rewritten=self._choices.store_rewritten)
        except ValueError as error:
            raise ReplyNotStored(str(error)) from None

    def _stored(self, output: Any, messages: Callable[[], list[BaseMessage]]) -> Steps[Any]:
        try:
            with reply_attached(output):
                yield self._adding(messages())
        except IdempotencyConflict:
            if self._event is None:
                raise
            _log.info("Another delivery of an event was stored meanwhile: its reply counts.")
            stored = yield self._asking()
            return self._replayed(stored or [])
        except Exception as error:
            if not self._choices.return_unstored:
                raise
            _log.error("A turn could not be stored, and its reply was returned: %s.", type(error).__name__)
        return output

    def _adding(self, messages: list[BaseMessage]) -> Step:
        history = self._history
        key = {} if self._event is None else {"idempotency_key": self._event}
        return Step(
            partial(history.add_messages, messages, **key), partial(history.aadd_messages, messages, **key), writes=True
        )

    def _asking(self) -> Step:
        history, event = self._history, self._event
        if not isinstance(history, UpstashRedisChatMessageHistory) or event is None:
            raise ValueError(
                f"idempotency_key needs an UpstashRedisChatMessageHistory, and get_session_history returned a "
                f"{type(history).__name__}. Nothing was read or stored."
            )
        return Step(partial(history.stored_for, event), partial(history.astored_for, event))

    def _replayed(self, stored: Sequence[BaseMessage]) -> Any:
        if not stored:
            raise ReplyGone(self._event or "")
        return replayed(self._runnable, self._choices.keys, self._question.messages, stored)

    def _inner_config(self) -> RunnableConfig:
        # RunnableWithMessageHistory shows the history there too, to whatever runs within. The key is of this turn only.
        inner: dict[str, Any] = {"message_history": self._history}
        if self._event is not None:
            inner[IDEMPOTENCY_KEY.id] = None
        return patch_config(merge_configs(self.config, {"callbacks": [self._run]}), configurable=inner)


def _event_of(config: RunnableConfig, lookup: HistoryLookup) -> str | None:
    if any(field.id == IDEMPOTENCY_KEY.id for field in lookup.fields):
        return None  # the user's own
    key = config.get("configurable", {}).get(IDEMPOTENCY_KEY.id)
    return None if key is None else checked_idempotency_key(key)
