"""The workflow of one run: find and read the history, call the runnable, append the new messages. Pure.

A workflow yields the steps it waits for, so that it is written once for blocking callers and for asyncio.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig
from langchain_core.runnables.config import merge_configs, patch_config

from chatstash.errors import IdempotencyConflict, ReplyGone, ReplyNotStored
from chatstash.history.records.keys import checked_idempotency_key
from chatstash.langchain.draft import MessagesDraft, text_in
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langchain.runnable.callbacks import RunTracer
from chatstash.langchain.runnable.chunks import output_from_chunks
from chatstash.langchain.runnable.redelivery import stored_reply
from chatstash.langchain.runnable.run_messages import RunMessages, RunOptions, messages_of_input
from chatstash.langchain.runnable.session_config import HistoryProvider, MessageHistory
from chatstash.langchain.write_errors import with_reply

T = TypeVar("T")

IDEMPOTENCY_KEY = ConfigurableFieldSpec(
    id="idempotency_key",
    annotation=str | None,
    name="Idempotency key",
    description="The id of the event to answer. A redelivered event gets the stored reply.",
    default=None,
    is_shared=True,
)

_log = logging.getLogger("chatstash")


class Step(NamedTuple):
    """One thing a workflow waits for, in both colours. A write completes even if its caller is cancelled."""

    blocking: Callable[[], Any]
    awaited: Callable[[], Coroutine[Any, Any, Any]]
    is_write: bool = False


Steps: TypeAlias = Generator[Step, Any, T]


class Start(NamedTuple):
    """A started run: the input for the runnable, or the stored reply to an event that was answered before."""

    input: Any = None
    is_redelivery: bool = False
    reply: Any = None


class Run:
    """One run. Its `config` is the runnable's, once it has started."""

    def __init__(self, options: RunOptions, value: Any, config: RunnableConfig) -> None:
        self.config = config
        self._options = options
        self._value = value
        self._given = messages_of_input(options.keys, value)
        self._event = _event_in(config, options.histories)
        self._tracer = RunTracer()
        self._history: MessageHistory
        self._messages: RunMessages
        self._draft: MessagesDraft | None = None

    def answer(self, **kwargs: Any) -> Steps[Any]:
        """Do the whole run; returns the reply."""
        start = yield from self.start()
        if start.is_redelivery:
            return start.reply
        runnable, given = self._options.runnable, (start.input, self.config)
        output = yield Step(partial(runnable.invoke, *given, **kwargs), partial(runnable.ainvoke, *given, **kwargs))
        return (yield from self._append(output))

    def start(self) -> Steps[Start]:
        """Find and read the history; with an idempotency key, ask first whether the event was answered."""
        fields = self.config.get("configurable", {})
        histories = self._options.histories
        self._history = yield Step(partial(histories.get, fields), partial(histories.aget, fields))
        if self._event is not None and (stored := (yield self._stored_for_event())) is not None:
            return Start(is_redelivery=True, reply=self._stored_reply(stored))
        if self._options.draft:
            self._own_history("draft=True")
        messages = yield Step(lambda: self._history.messages, self._history.aget_messages)
        self._messages = RunMessages(self._options, self._value, self._given, messages)
        self.config = self._runnable_config()
        return Start(self._messages.runnable_input)

    def write_draft(self, chunks: Sequence[Any]) -> Steps[None]:
        """Store the text of a stream so far, if that is wanted and due."""
        if not self._options.draft:
            return
        draft = self._draft = self._draft or self._own_history("draft=True").draft()
        if draft.is_due() and (text := self._text_so_far(chunks)):
            yield Step(partial(draft.rewrite, text), partial(draft.arewrite, text))

    def _text_so_far(self, chunks: Sequence[Any]) -> str:
        reply = [message for message in self._messages.partial(chunks, self._tracer) if isinstance(message, AIMessage)]
        return text_in(reply[-1]) if reply else ""

    def end_stream(self, chunks: Sequence[Any]) -> Steps[Any]:
        """Append the new messages after the last chunk of a stream."""
        return (yield from self._append(output_from_chunks(chunks), chunks))

    def partial_messages(self, chunks: Sequence[Any]) -> list[BaseMessage]:
        """Return the messages to store if a stream is closed after these chunks."""
        return self._messages.partial(chunks, self._tracer) if self._options.keep_partial else []

    def save_partial(self, chunks: Sequence[Any], messages: list[BaseMessage]) -> Steps[None]:
        """Append the messages of a stream that was closed early."""
        if messages:
            yield from self._append(list(chunks), messages=messages)

    def _new_messages(self, output: Any, chunks: Sequence[Any] | None) -> list[BaseMessage]:
        try:
            return self._messages.complete(output, self._tracer, chunks)
        except ValueError as error:
            raise ReplyNotStored(str(error)) from None

    def _append(
        self, output: Any, chunks: Sequence[Any] | None = None, messages: list[BaseMessage] | None = None
    ) -> Steps[Any]:
        """Append messages, by default those of the output.

        Returns the output, or the reply that another delivery of the event stored meanwhile.
        """
        try:
            yield self._add(messages or self._new_messages(output, chunks))
        except Exception as error:  # noqa: BLE001 - raised, unless the user wants the reply
            if self._event is not None and isinstance(error, IdempotencyConflict):
                _log.info("Another delivery of this event was stored first; its reply is returned.")
                return self._stored_reply((yield self._stored_for_event()) or [])
            if not self._options.return_unstored:
                raise with_reply(error, output)  # noqa: B904 - mostly the same error
            _log.error("The messages of a run could not be stored; its reply is returned: %s.", type(error).__name__)
        return output

    def _add(self, messages: list[BaseMessage]) -> Step:
        history: Any = self._history
        key = {} if self._event is None else {"idempotency_key": self._event}
        if self._draft is not None:
            finish, afinish = self._draft.finish, self._draft.afinish
            return Step(partial(finish, messages, **key), partial(afinish, messages, **key), is_write=True)
        return Step(
            partial(history.add_messages, messages, **key),
            partial(history.aadd_messages, messages, **key),
            is_write=True,
        )

    def _stored_for_event(self) -> Step:
        history, event = self._own_history("idempotency_key"), self._event or ""
        return Step(partial(history.stored_for, event), partial(history.astored_for, event))

    def _own_history(self, option: str) -> UpstashRedisChatMessageHistory:
        """Return the history, or raise ValueError where an option needs one of chatstash."""
        history = self._history
        if not isinstance(history, UpstashRedisChatMessageHistory):
            raise ValueError(
                f"{option} needs an UpstashRedisChatMessageHistory, but get_session_history returned a "
                f"{type(history).__name__}. Nothing was read or stored."
            )
        return history

    def _stored_reply(self, stored: Sequence[BaseMessage]) -> Any:
        if not stored:
            raise ReplyGone(self._event or "")
        return stored_reply(self._options.runnable, self._options.keys, self._given, stored)

    def _runnable_config(self) -> RunnableConfig:
        # RunnableWithMessageHistory passes the history there, too. Runs within this one must not use its event.
        inner: dict[str, Any] = {"message_history": self._history}
        if self._event is not None:
            inner[IDEMPOTENCY_KEY.id] = None
        return patch_config(merge_configs(self.config, {"callbacks": [self._tracer]}), configurable=inner)


def _event_in(config: RunnableConfig, histories: HistoryProvider) -> str | None:
    if any(field.id == IDEMPOTENCY_KEY.id for field in histories.fields):
        return None  # a field of the user's with that name
    key = config.get("configurable", {}).get(IDEMPOTENCY_KEY.id)
    return None if key is None else checked_idempotency_key(key)
