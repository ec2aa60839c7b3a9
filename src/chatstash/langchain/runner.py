"""`with_history`: a runnable that reads a conversation, answers, and appends what is new."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable
from langchain_core.runnables.config import ensure_config, patch_config
from langchain_core.runnables.utils import get_unique_config_specs

from chatstash.langchain.exchange import Exchange, Question, Reply
from chatstash.langchain.lookup import HistoryLookup, MessageHistory
from chatstash.langchain.shapes import Keys

_log = logging.getLogger("chatstash")


def with_history(
    runnable: RunnableLike[Any, Any],
    get_session_history: Callable[..., MessageHistory],
    *,
    input_messages_key: str | None = None,
    output_messages_key: str | None = None,
    history_messages_key: str | None = None,
    history_factory_config: Sequence[ConfigurableFieldSpec] | None = None,
    keep_partial: bool = True,
) -> Runnable[Any, Any]:
    """Return a runnable that remembers: `RunnableWithMessageHistory`, whose errors are noticed.

    Each run reads the history once, gives the runnable what was said before and what is said now, and appends exactly
    the new messages, those of the input and of the output, at once. With `UpstashRedisChatMessageHistory` that is 2
    requests and 2 commands, or 3 commands with a ttl. Any error of reading or writing reaches the caller. Where the
    runnable raises, nothing is appended.

    A stream passes on its parts as they come and appends after the last. Where its consumer stops early (closes it, or
    the task is cancelled, as web frameworks do when a client disconnects), the question and the text that had come are
    appended, the reply with `response_metadata["interrupted"]` set; nothing where no text had come.

    Args:
        runnable: What answers; anything LCEL takes for a runnable. Its input is a list of messages or a dict, its
            output a str, a message, a list of messages, or a dict with one of these.
        get_session_history: Makes the history of a session id, or of the fields of `history_factory_config` given by
            keyword; any `BaseChatMessageHistory` will do. It is called once for each run.
        input_messages_key: The key, where the input is a dict, of what is said now: a str, a message or messages.
        output_messages_key: The key, where the output is a dict, of the reply.
        history_messages_key: The key at which the runnable wants what was said before; None for before the messages
            of the input.
        history_factory_config: The fields of `config["configurable"]` that say which history; None for `session_id`.
        keep_partial: Whether to append the turn where a stream's consumer stops early.

    Returns:
        A runnable to be called with `config={"configurable": {"session_id": ...}}`. Each item of a batch has a session
        of its own, or shares one, with a list of configs or a single one. All of the config is passed on to `runnable`.

    Raises:
        ValueError: An argument cannot be right. In a run: the input is none of the shapes, or the config lacks a
            field (nothing was read); or the output is none of the shapes (nothing was stored).

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel
        from chatstash import UpstashRedisChatMessageHistory, with_history

        chat = with_history(FakeListChatModel(responses=["Paris."]), UpstashRedisChatMessageHistory)
        chat.invoke("Capital of France?", {"configurable": {"session_id": "user-42"}})
        ```
    """
    keys = Keys(input_messages_key, output_messages_key, history_messages_key)
    lookup = HistoryLookup(get_session_history, history_factory_config)
    return RunnableWithHistory(coerce_to_runnable(runnable), lookup, keys, keep_partial=keep_partial)


class RunnableWithHistory(Runnable[Any, Any]):
    """What `with_history` returns."""

    def __init__(self, runnable: Runnable[Any, Any], lookup: HistoryLookup, keys: Keys, *, keep_partial: bool) -> None:
        self._runnable = runnable
        self._lookup = lookup
        self._keys = keys
        self._keep_partial = keep_partial

    @property
    def InputType(self) -> Any:  # noqa: N802 - langchain-core's name
        """What a run takes."""
        if self._keys.input or self._keys.history:
            return dict[str, Any]
        return str | BaseMessage | list[BaseMessage] | dict[str, Any]

    @property
    def OutputType(self) -> Any:  # noqa: N802 - langchain-core's name
        """What the runnable gives back, and so a run."""
        return self._runnable.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The fields of `config["configurable"]`: those of the runnable, and those that say which history."""
        return get_unique_config_specs([*self._runnable.config_specs, *self._lookup.fields])

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one input; reads and appends once each."""
        question = Question.of(self._keys, input)
        history, config = self._entered(config)
        turn = question.after(history.messages)
        output = self._runnable.invoke(turn.given, config, **kwargs)
        history.add_messages(turn.ended(output))
        return output

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one input as `invoke` does, without blocking the event loop."""
        question = Question.of(self._keys, input)
        history, config = self._entered(config)
        turn = question.after(await history.aget_messages())
        output = await self._runnable.ainvoke(turn.given, config, **kwargs)
        await _to_its_end(history.aadd_messages(turn.ended(output)))
        return output

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Answer one input in parts; reads before the first and appends after the last."""
        question = Question.of(self._keys, input)
        history, config = self._entered(config)
        turn = question.after(history.messages)
        reply = Reply()
        try:
            with _closing(self._runnable.stream(turn.given, config, **kwargs)) as parts:
                for part in parts:
                    reply.add(part)
                    yield part
        except GeneratorExit:
            if kept := self._kept(turn, reply):
                history.add_messages(kept)
            raise
        history.add_messages(turn.ended(reply.output))

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Answer one input in parts as `stream` does, without blocking the event loop."""
        question = Question.of(self._keys, input)
        history, config = self._entered(config)
        turn = question.after(await history.aget_messages())
        reply = Reply()
        try:
            async with _aclosing(self._runnable.astream(turn.given, config, **kwargs)) as parts:
                async for part in parts:
                    reply.add(part)
                    yield part
        except (GeneratorExit, asyncio.CancelledError):
            if kept := self._kept(turn, reply):
                await _to_its_end(history.aadd_messages(kept))
            raise
        await _to_its_end(history.aadd_messages(turn.ended(reply.output)))

    def _entered(self, config: RunnableConfig | None) -> tuple[MessageHistory, RunnableConfig]:
        config = ensure_config(config)
        history = self._lookup.find(config.get("configurable", {}))
        # RunnableWithMessageHistory shows it there too, to whatever runs within.
        return history, patch_config(config, configurable={"message_history": history})

    def _kept(self, turn: Exchange, reply: Reply) -> list[BaseMessage]:
        return turn.stopped(reply.output) if self._keep_partial else []


_left_alone: set[asyncio.Task[None]] = set()
"""Writes whose callers were cancelled; an event loop itself holds its tasks only weakly."""


async def _to_its_end(write: Coroutine[Any, Any, None]) -> None:
    """Await a write that goes on where its caller is cancelled, for half a write is no use to anybody."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        _left_alone.add(task)
        task.add_done_callback(_report)
        raise


def _report(task: asyncio.Task[None]) -> None:
    _left_alone.discard(task)
    if not task.cancelled() and (error := task.exception()):
        _log.error("A turn could not be stored after its caller was cancelled: %s.", type(error).__name__)


@contextlib.contextmanager
def _closing(parts: Iterator[Any]) -> Iterator[Iterator[Any]]:
    try:
        yield parts
    finally:
        if close := getattr(parts, "close", None):
            close()


@contextlib.asynccontextmanager
async def _aclosing(parts: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    try:
        yield parts
    finally:
        if aclose := getattr(parts, "aclose", None):
            await cast("Callable[[], Coroutine[Any, Any, None]]", aclose)()
