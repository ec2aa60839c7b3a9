"""The messages of one run: the runnable's input, and afterwards the new messages to append. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from chatstash.langchain.runnable.alignment import align_input, rewritten_input, start_of_reply
from chatstash.langchain.runnable.callbacks import GraphTrace, RunTracer
from chatstash.langchain.runnable.chunks import messages_from_chunks
from chatstash.langchain.runnable.inputs_outputs import Keys, input_messages, is_resumption, output_messages
from chatstash.langchain.runnable.partial_reply import partial_messages, partial_reply, received_state
from chatstash.langchain.runnable.session_config import HistoryProvider
from chatstash.langchain.runnable.tool_messages import removed_calls


class RunOptions(NamedTuple):
    """The runnable, its histories, and the options of all runs, as `with_history` documents them."""

    runnable: Runnable[Any, Any]
    is_graph: bool
    histories: HistoryProvider
    keys: Keys
    keep_partial: bool
    return_unstored: bool
    store_rewritten: bool
    draft: bool


def messages_of_input(keys: Keys, value: Any) -> list[BaseMessage]:
    """Return the messages of a run's input; ValueError if its form is not supported."""
    if is_resumption(value):
        return []
    if isinstance(value, dict):
        return input_messages(value[keys.input_key_of(value)])
    if keys.input or keys.history:
        raise ValueError(
            f"with input_messages_key or history_messages_key, the input must be a dict, not "
            f"{type(value).__name__}. Nothing was stored."
        )
    return input_messages(value)


class RunMessages:
    """The messages of a run: the earlier ones, and those of the input that do not repeat the history."""

    def __init__(
        self, options: RunOptions, value: Any, given: Sequence[BaseMessage], history: Sequence[BaseMessage]
    ) -> None:
        aligned = align_input(history, given)
        self._options = options
        self._earlier = [*aligned.instructions, *history]
        self._new_input = aligned.new
        self.runnable_input = self._runnable_input(value, is_shorter=aligned.new != given)

    def _runnable_input(self, value: Any, *, is_shorter: bool) -> Any:
        keys, earlier, new = self._options.keys, self._earlier, self._new_input
        if is_resumption(value):
            return value
        if keys.history:
            shorter = {keys.input_key_of(value): new} if is_shorter else {}
            return {**value, **shorter, keys.history: list(earlier)}
        if keys.input:
            return {**value, keys.input: [*earlier, *new]}
        return [*earlier, *new]

    def complete(self, output: Any, tracer: RunTracer, chunks: Sequence[Any] | None = None) -> list[BaseMessage]:
        """Return the messages to append after a complete reply.

        If the output repeats the runnable's input, as an agent's does, only what follows it is new. The output of a
        stream is its combined chunks.
        """
        reply, graph = self._reply_in(output, tracer, chunks)
        if isinstance(reply, (str, BaseMessage)):
            return [*self._new_input, *output_messages(reply)]
        new_input, new_reply, generated_ids = self._new_messages(output_messages(reply), tracer, graph)
        removed = removed_calls(graph.update_messages(), new_reply, generated_ids) if graph else []
        return [*new_input, *removed, *new_reply]

    def partial(self, chunks: Sequence[Any], tracer: RunTracer) -> list[BaseMessage]:
        """Return the messages to append if a stream is closed after these chunks; none if the reply had not begun."""
        key = self._options.keys.output
        messages = [] if self._options.is_graph else partial_messages(chunks, key)
        graph = None if messages else tracer.graph
        updates: list[BaseMessage] = []
        if graph is not None:
            messages, updates = received_state(graph, key, chunks, tracer.unfinished_chunks())
        new_input, new_reply, generated_ids = self._new_messages(messages, tracer, graph)
        reply = partial_reply([*removed_calls(updates, new_reply, generated_ids), *new_reply])
        return [*new_input, *reply] if reply else []

    def _reply_in(self, output: Any, tracer: RunTracer, chunks: Sequence[Any] | None) -> tuple[Any, GraphTrace | None]:
        """Return the reply of an output, and the graph that it is the output of, if any.

        If the output has no messages, they are taken from a graph that ran, or from the chunks.
        """
        messages = messages_from_chunks(chunks or [])
        graph = None if tracer.graph is None or tracer.graph.output is None else tracer.graph
        if not (graph and self._options.is_graph and chunks is not None):
            try:
                reply = self._at_key(output, graph)
                if output_messages(reply) or not (graph or messages):
                    return reply, graph if self._options.is_graph else None
            except ValueError:
                if not (graph or messages):
                    raise
        return (self._at_key(graph.output, graph), graph) if graph else (messages, None)

    def _at_key(self, output: Any, graph: GraphTrace | None) -> Any:
        if not isinstance(output, dict):
            return output
        return output[self._options.keys.output_key_of(output, is_state=graph is not None)]

    def _new_messages(
        self, output: list[BaseMessage], tracer: RunTracer, graph: GraphTrace | None
    ) -> tuple[list[BaseMessage], list[BaseMessage], set[str]]:
        """Return the new messages of the input and of the reply, and the ids of those generated in the run."""
        # A graph's own account of its input has the ids it assigned, and the messages of its checkpointer.
        given = graph.input_messages(self._options.keys.output) if graph else None
        sent = given or [*self._earlier, *self._new_input]
        generated_ids = tracer.generated_ids(sent)
        start = start_of_reply(sent, output, generated_ids)
        new_input = self._new_input
        if self._options.store_rewritten:
            new_input = rewritten_input(new_input, output[:start], graph.update_messages() if graph else [])
        return new_input, output[start:], generated_ids
