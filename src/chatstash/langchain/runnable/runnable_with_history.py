"""`with_history`, and the runnable it returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, get_args

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable
from langchain_core.runnables.config import ensure_config
from langchain_core.runnables.utils import get_unique_config_specs

from chatstash.langchain.runnable.drivers import arun, run
from chatstash.langchain.runnable.inputs_outputs import Keys, is_graph
from chatstash.langchain.runnable.run_messages import RunOptions
from chatstash.langchain.runnable.session_config import HistoryFactory, HistoryProvider
from chatstash.langchain.runnable.workflow import IDEMPOTENCY_KEY, Run
from chatstash.langchain.write_errors import OnWriteFailure


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
    draft: bool = False,
) -> Runnable[Any, Any]:
    """Return a runnable with memory, in place of `RunnableWithMessageHistory`.

    Each run reads the history once, calls the runnable with the earlier messages and the input, and appends the new
    messages of input and output in one step. With `UpstashRedisChatMessageHistory` that is 2 requests and 2 commands,
    or 3 commands with a ttl. Errors of reading and writing are raised. If the runnable raises, nothing is appended.

    A stream passes on each chunk as it arrives and appends after the last. If the client disconnects mid-stream (the
    stream is closed, or its task cancelled), the input is appended with the partial reply: complete messages, tool
    calls that have their results, and the text of an interrupted message, with `response_metadata["interrupted"]` set.
    If no reply was received, nothing is appended.

    With `idempotency_key` in the config, next to the session id, a run first asks whether that event was stored. If so,
    it returns the stored reply without calling the runnable, for 1 request and 4 commands. A new event takes 3 requests
    and 6 commands, 7 with a ttl. The history must be an `UpstashRedisChatMessageHistory`.

    Args:
        runnable: The runnable that answers; anything LCEL accepts as one, including an agent of LangChain or a graph of
            LangGraph. Its input is a list of messages or a dict. Its output is a str, a message, a list of messages,
            or a dict that holds one of these.
        get_session_history: Returns the history for a session id, or for the fields of `history_factory_config`, passed
            by keyword; any `BaseChatMessageHistory`. Called once per run. It may be `async def`; then only `ainvoke`,
            `astream` and `abatch` work.
        input_messages_key: The key of a dict input that holds the new messages: a str, a message or messages.
        output_messages_key: The key of a dict output that holds the reply.
        history_messages_key: The key at which the runnable takes the earlier messages; None to put them before the
            messages of the input.
        history_factory_config: The fields of `config["configurable"]` that select the history; None for `session_id`.
        keep_partial: Whether to append the partial reply if a stream is closed early.
        on_write_failure: If the messages cannot be stored: `raise` the error, which has the reply as `error.reply`, or
            log the error and `return` the reply.
        store_rewritten: Whether to store input messages as the runnable rewrote them, as middleware that redacts does;
            False to store them as they were passed in.
        draft: Whether streams store the reply while it is written, once a second, for `read_draft`; see `Draft` for the
            cost. The history must be an `UpstashRedisChatMessageHistory`.

    Returns:
        A runnable to call with `config={"configurable": {"session_id": ...}}`. The items of a batch have one config
        each, or share one. The runnable receives the whole config except the idempotency key.

    Raises:
        ValueError: An argument is invalid. In a run: the input has an unsupported form, the config lacks a field,
            `get_session_history` is async in a blocking run, or the history does not support idempotency keys;
            nothing was read.
        ReplyNotStored: In a run: the output has an unsupported form; nothing was stored.
        ReplyGone: In a run: the event of the idempotency key was stored, and its messages have been removed since.

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
    answering: Runnable[Any, Any] = coerce_to_runnable(runnable)
    options = RunOptions(
        runnable=answering,
        is_graph=is_graph(answering),
        histories=HistoryProvider(get_session_history, history_factory_config),
        keys=Keys(input_messages_key, output_messages_key, history_messages_key),
        keep_partial=keep_partial,
        return_unstored=on_write_failure == "return",
        store_rewritten=store_rewritten,
        draft=draft,
    )
    return RunnableWithHistory(options)


class RunnableWithHistory(Runnable[Any, Any]):
    """The runnable that `with_history` returns."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options

    @property
    def InputType(self) -> Any:  # noqa: N802 - langchain-core's name
        """The type of the input."""
        if self._options.keys.input or self._options.keys.history:
            return dict[str, Any]
        return str | BaseMessage | list[BaseMessage] | dict[str, Any]

    @property
    def OutputType(self) -> Any:  # noqa: N802 - langchain-core's name
        """The type of the output: the runnable's."""
        return self._options.runnable.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The fields of `config["configurable"]`: the runnable's, the history's, and the idempotency key."""
        specs = [*self._options.runnable.config_specs, *self._options.histories.fields]
        more = [] if any(spec.id == IDEMPOTENCY_KEY.id for spec in specs) else [IDEMPOTENCY_KEY]
        return get_unique_config_specs([*specs, *more])

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one input; reads and appends once each."""
        return run(self._run(input, config).answer(**kwargs))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer one input as `invoke` does, without blocking the event loop."""
        return await arun(self._run(input, config).answer(**kwargs))

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Answer one input in chunks; reads before the first and appends after the last."""
        current = self._run(input, config)
        start = run(current.start())
        if start.is_redelivery:
            yield start.reply
            return
        received: list[Any] = []
        chunks = self._options.runnable.stream(start.input, current.config, **kwargs)
        try:
            for chunk in chunks:
                received.append(chunk)
                run(current.write_draft(received))
                yield chunk
        except GeneratorExit:
            # Computed first: until it is closed, the runnable may produce more than the reader received.
            messages = current.partial_messages(received)
            if close := getattr(chunks, "close", None):
                close()
            run(current.save_partial(received, messages))
            raise
        run(current.end_stream(received))

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Answer one input in chunks as `stream` does, without blocking the event loop."""
        current = self._run(input, config)
        start = await arun(current.start())
        if start.is_redelivery:
            yield start.reply
            return
        received: list[Any] = []
        chunks = self._options.runnable.astream(start.input, current.config, **kwargs)
        try:
            async for chunk in chunks:
                received.append(chunk)
                await arun(current.write_draft(received))
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            messages = current.partial_messages(received)
            if aclose := getattr(chunks, "aclose", None):
                await aclose()
            await arun(current.save_partial(received, messages))
            raise
        await arun(current.end_stream(received))

    def _run(self, value: Any, config: RunnableConfig | None) -> Run:
        return Run(self._options, value, ensure_config(config))
