"""`with_history`: a runnable that reads a conversation, answers, and appends what is new."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal, cast, get_args

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable
from langchain_core.runnables.config import ensure_config
from langchain_core.runnables.utils import get_unique_config_specs

from chatstash.langchain.inputs_outputs import Keys
from chatstash.langchain.session_config import HistoryFactory, HistoryLookup
from chatstash.langchain.workflow import IDEMPOTENCY_KEY, Choices, Step, Steps, T, Turn

OnWriteFailure = Literal["raise", "return"]

_log = logging.getLogger("chatstash")


def with_history(
    runnable: RunnableLike[Any, Any],
    get_session_history: HistoryFactory,
    *,
    input_messages_key: str | None = None,
    output_messages_key: str | None = None,
    history_messages_key: str | None = None,
    history_factory_config: Sequence[ConfigurableFieldSpec] | None = None,
    keep_partial: bool = True,
    on_write_failure: OnWriteFailure = "raise",
    store_rewritten: bool = False,
) -> Runnable[Any, Any]:
    """Return a runnable with a memory, in place of `RunnableWithMessageHistory`.

    Each run reads the history once, calls the runnable with the earlier messages and the input, and appends the new
    messages of input and output in one step. With `UpstashRedisChatMessageHistory` that is 2 requests and 2 commands,
    or 3 commands with a ttl. Errors of reading and writing are raised. If the runnable raises, nothing is appended.

    A stream passes on its parts as they come and appends after the last. If its reader stops early (closes it, or the
    task is cancelled, as web frameworks do when a client disconnects), the question is appended, and what the reader
    was shown: whole messages, tool calls with their results, and the text of a reply that was cut, with
    `response_metadata["interrupted"]` set. If nothing was shown, nothing is appended.

    With `idempotency_key` in the config, beside the session id, a run first asks whether that event was stored. If so,
    it returns the stored reply without calling the runnable, for 1 request and 4 commands. A new event takes 3 requests
    and 6 commands, 7 with a ttl. The history must be an `UpstashRedisChatMessageHistory`.

    Args:
        runnable: What answers; anything LCEL takes for a runnable, an agent of LangChain or a graph of LangGraph too.
            Its input is a list of messages or a dict, its output a str, a message, a list of messages, or a dict with
            one of these.
        get_session_history: Makes the history of a session id, or of the fields of `history_factory_config` given by
            keyword; any `BaseChatMessageHistory` will do. It is called once for each run. It may be `async def`; then
            only `ainvoke`, `astream` and `abatch` can be used.
        input_messages_key: The key, where the input is a dict, of what is said now: a str, a message or messages.
        output_messages_key: The key, where the output is a dict, of the reply.
        history_messages_key: The key at which the runnable wants what was said before; None for before the messages
            of the input.
        history_factory_config: The fields of `config["configurable"]` that say which history; None for `session_id`.
        keep_partial: Whether to append the turn where a stream's consumer stops early.
        on_write_failure: What happens if a turn cannot be stored: `raise` the error, which has the reply as
            `error.reply`, or log the error and `return` the reply.
        store_rewritten: Whether a question that the runnable rewrote, as middleware that redacts does, is stored in the
            form that the output has; False for the form of the input.

    Returns:
        A runnable to be called with `config={"configurable": {"session_id": ...}}`. Each item of a batch has a session
        of its own, or shares one, with a list of configs or a single one. All of the config but the idempotency key is
        passed on to `runnable`.

    Raises:
        ValueError: An argument cannot be right. In a run: the input is none of the shapes, the config lacks a field,
            the history cannot be found in a blocking run, or cannot have an idempotency key; nothing was read.
        ReplyNotStored: In a run: the output is none of the shapes; nothing was stored.
        ReplyGone: In a run: the event of the idempotency key was stored, and its messages are no longer there.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel
        from chatstash import UpstashRedisChatMessageHistory, with_history

        chat = with_history(FakeListChatModel(responses=["Paris."]), UpstashRedisChatMessageHistory)
        chat.invoke("Capital of France?", {"configurable": {"session_id": "user-42"}})
        ```
    """
    if on_write_failure not in get_args(OnWriteFailure):
        raise ValueError(f"on_write_failure must be 'raise' or 'return', not {on_write_failure!r}")
    keys = Keys(input_messages_key, output_messages_key, history_messages_key)
    lookup = HistoryLookup(get_session_history, history_factory_config)
    choices = Choices(keys, keep_partial, on_write_failure == "return", store_rewritten)
    return RunnableWithHistory(coerce_to_runnable(runnable), lookup, choices)


class RunnableWithHistory(Runnable[Any, Any]):
    """What `with_history` returns."""

    def __init__(self, runnable: Runnable[Any, Any], lookup: HistoryLookup, choices: Choices) -> None:
        self._runnable = runnable
        self._lookup = lookup
        self._choices = choices

    @property
    def InputType(self) -> Any:  # noqa: N802 - langchain-core's name
        """What a run takes."""
        if self._choices.keys.input or self._choices.keys.history:
            return dict[str, Any]
        return str | BaseMessage | list[BaseMessage] | dict[str, Any]

    @property
    def OutputType(self) -> Any:  # noqa: N802 - langchain-core's name
        """What the runnable gives back, and so a run."""
        return self._runnable.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The fields of `config["configurable"]`: the runnable's, those that say which history, the idempotency key."""
        own = [*self._runnable.config_specs, *self._lookup.fields]
        more = [] if any(spec.id == IDEMPOTENCY_KEY.id for spec in own) else [IDEMPOTENCY_KEY]
        return get_unique_config_specs([*own, *more])

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one input; reads and appends once each."""
        turn = self._turn(input, config)
        begun = _run(turn.begin())
        if begun.replayed:
            return begun.reply
        output = self._runnable.invoke(begun.given, turn.config, **kwargs)
        return _run(turn.end(output))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one input as `invoke` does, without blocking the event loop."""
        turn = self._turn(input, config)
        begun = await _arun(turn.begin())
        if begun.replayed:
            return begun.reply
        output = await self._runnable.ainvoke(begun.given, turn.config, **kwargs)
        return await _arun(turn.end(output))

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Answer one input in parts; reads before the first and appends after the last."""
        turn = self._turn(input, config)
        begun = _run(turn.begin())
        if begun.replayed:
            yield begun.reply
            return
        shown: list[Any] = []
        with _closing(self._runnable.stream(begun.given, turn.config, **kwargs)) as parts:
            try:
                for part in parts:
                    shown.append(part)
                    yield part
            except GeneratorExit:
                # Before the runnable is stopped, which may go on until then unseen.
                kept = turn.stopped(shown)
                parts.close()
                _run(turn.keep(shown, kept))
                raise
        _run(turn.end_stream(shown))

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Answer one input in parts as `stream` does, without blocking the event loop."""
        turn = self._turn(input, config)
        begun = await _arun(turn.begin())
        if begun.replayed:
            yield begun.reply
            return
        shown: list[Any] = []
        async with _aclosing(self._runnable.astream(begun.given, turn.config, **kwargs)) as parts:
            try:
                async for part in parts:
                    shown.append(part)
                    yield part
            except (GeneratorExit, asyncio.CancelledError):
                kept = turn.stopped(shown)
                await parts.aclose()
                await _arun(turn.keep(shown, kept))
                raise
        await _arun(turn.end_stream(shown))

    def _turn(self, value: Any, config: RunnableConfig | None) -> Turn:
        return Turn(self._runnable, self._lookup, self._choices, value, ensure_config(config))


def _run(steps: Steps[T]) -> T:
    """Take the steps of a workflow, each blocking."""
    try:
        step = next(steps)
        while True:
            try:
                done = step.blocking()
            except Exception as error:  # noqa: BLE001 - the workflow decides, which mostly raises it
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        return cast("T", end.value)


async def _arun(steps: Steps[T]) -> T:
    """Take the steps of a workflow without blocking the event loop."""
    try:
        step = next(steps)
        while True:
            try:
                done = await _awaited(step)
            except Exception as error:  # noqa: BLE001 - the workflow decides, which mostly raises it
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as end:
        return cast("T", end.value)


def _awaited(step: Step) -> Awaitable[Any]:
    return _to_its_end(step.awaited()) if step.writes else step.awaited()


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


class _Parts:
    """The parts of a blocking stream, with a `close` that may be called again."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def close(self) -> None:
        """Stop the runnable."""
        if close := getattr(self._parts, "close", None):
            close()


@contextlib.contextmanager
def _closing(parts: Iterator[Any]) -> Iterator[_Parts]:
    closable = _Parts(parts)
    try:
        yield closable
    finally:
        closable.close()


class _AsyncParts:
    """The parts of a stream, with an `aclose` that may be called again."""

    def __init__(self, parts: AsyncIterator[Any]) -> None:
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._parts)

    async def aclose(self) -> None:
        """Stop the runnable."""
        if aclose := getattr(self._parts, "aclose", None):
            await cast("Callable[[], Coroutine[Any, Any, None]]", aclose)()


@contextlib.asynccontextmanager
async def _aclosing(parts: AsyncIterator[Any]) -> AsyncIterator[_AsyncParts]:
    closable = _AsyncParts(parts)
    try:
        yield closable
    finally:
        await closable.aclose()
