"""The messages of one run: the runnable's input, and afterwards the new messages to append. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from chatstash.langchain.runnable.alignment import align_input, rewritten_input, start_of_reply
from chatstash.langchain.runnable.callbacks import GraphTrace, RunTracer
from chatstash.langchain.runnable.chunks import messages_from_chunks
from chatstash.langchain.runnable.inputs_outputs import Keys, input_messages, is_resumption, output_messages
from chatstash.langchain.runnable.partial_reply import partial_messages, partial_reply, received_state
from chatstash.langchain.runnable.tool_messages import removed_calls


class RunOptions(NamedTuple):
    """The options of all runs, as `with_history` documents them, and whether the runnable is a graph."""

    keys: Keys
    keep_partial: bool
    return_unstored: bool
    store_rewritten: bool
    is_graph: bool


@dataclass(frozen=True, slots=True)
class RunInput:
    """The parsed input of a run, before the history is read.

    Attributes:
        options: The options of all runs.
        value: The input.
        messages: Its messages.
    """

    options: RunOptions
    value: Any
    messages: list[BaseMessage]

    @classmethod
    def parse(cls, options: RunOptions, value: Any) -> RunInput:
        """Return the parsed input.

        Raises:
            ValueError: It has an unsupported form.
        """
        keys = options.keys
        if is_resumption(value):
            return cls(options, value, [])
        if isinstance(value, dict):
            return cls(options, value, input_messages(value[keys.input_key_of(value)]))
        if keys.input or keys.history:
            raise ValueError(
                f"with input_messages_key or history_messages_key, the input must be a dict, not a "
                f"{type(value).__name__}. Nothing was stored."
            )
        return cls(options, value, input_messages(value))

    def after(self, history: Sequence[BaseMessage]) -> RunMessages:
        """Return the messages of the run after a history. If the input repeats it, only what follows is new."""
        aligned = align_input(history, self.messages)
        earlier = [*aligned.instructions, *history]
        return RunMessages(self.options, self._runnable_input(earlier, aligned.new), earlier, aligned.new)

    def _runnable_input(self, earlier: list[BaseMessage], new: list[BaseMessage]) -> Any:
        keys = self.options.keys
        if is_resumption(self.value):
            return self.value
        if keys.history:
            shorter = {} if new == self.messages else {keys.input_key_of(self.value): new}
            return {**self.value, **shorter, keys.history: list(earlier)}
        if keys.input:
            return {**self.value, keys.input: [*earlier, *new]}
        return [*earlier, *new]


class _NewMessages(NamedTuple):
    """The new messages of a run.

    Attributes:
        input: Those of the input, as they are to be stored.
        reply: Those of the reply.
        generated_ids: The ids of the messages that were generated in the run.
    """

    input: list[BaseMessage]
    reply: list[BaseMessage]
    generated_ids: set[str]


@dataclass(frozen=True, slots=True)
class RunMessages:
    """The messages of a run.

    Attributes:
        options: The options of all runs.
        runnable_input: The input for the runnable.
        earlier: The messages before the new ones.
        new_input: The new messages of the input.
    """

    options: RunOptions
    runnable_input: Any
    earlier: list[BaseMessage]
    new_input: list[BaseMessage]

    def complete(self, output: Any, tracer: RunTracer, chunks: Sequence[Any] | None = None) -> list[BaseMessage]:
        """Return the messages to append after a complete reply.

        If the output repeats the runnable's input, as an agent's does, only what follows it is new.

        Args:
            output: The output; of a stream, its combined chunks.
            tracer: Recorded the run.
            chunks: The chunks of a stream; None for an output that was returned.

        Raises:
            ValueError: The output has an unsupported form.
        """
        reply, graph = self._reply_in(output, tracer, chunks)
        if isinstance(reply, (str, BaseMessage)):
            return [*self.new_input, *output_messages(reply)]
        new = self._new_messages(output_messages(reply), tracer, graph)
        removed = removed_calls(graph.update_messages(), new.reply, new.generated_ids) if graph else []
        return [*new.input, *removed, *new.reply]

    def partial(self, chunks: Sequence[Any], tracer: RunTracer) -> list[BaseMessage]:
        """Return the messages to append if a stream is closed after these chunks; none if the reply had not begun."""
        key = self.options.keys.output
        messages = [] if self.options.is_graph else partial_messages(chunks, key)
        graph = None if messages else tracer.graph
        if graph is not None:
            messages = received_state(graph, key, chunks, tracer.unfinished_chunks())
        new = self._new_messages(messages, tracer, graph)
        reply = partial_reply(new.reply)
        return [*new.input, *reply] if reply else []

    def _reply_in(self, output: Any, tracer: RunTracer, chunks: Sequence[Any] | None) -> tuple[Any, GraphTrace | None]:
        """Return the reply of an output, and the graph that it is the output of, if any.

        If the output has no messages, they are taken from a graph that ran, or from the chunks.
        """
        graph, messages = tracer.finished_graph, messages_from_chunks(chunks or [])
        if not (graph and self.options.is_graph and chunks is not None):
            try:
                reply = self._at_key(output, graph)
                if output_messages(reply) or not (graph or messages):
                    return reply, graph if self.options.is_graph else None
            except ValueError:
                if not (graph or messages):
                    raise
        return (self._at_key(graph.output, graph), graph) if graph else (messages, None)

    def _at_key(self, output: Any, graph: GraphTrace | None) -> Any:
        is_state = graph is not None
        return (
            output[self.options.keys.output_key_of(output, is_state=is_state)] if isinstance(output, dict) else output
        )

    def _new_messages(self, output: list[BaseMessage], tracer: RunTracer, graph: GraphTrace | None) -> _NewMessages:
        # A graph's own account of its input has the ids it assigned, and the messages of its checkpointer.
        given = graph.input_messages(self.options.keys.output) if graph else None
        sent = given or [*self.earlier, *self.new_input]
        generated_ids = tracer.generated_ids(sent)
        start = start_of_reply(sent, output, generated_ids)
        new_input = self.new_input
        if self.options.store_rewritten:
            new_input = rewritten_input(new_input, output[:start], graph.update_messages() if graph else [])
        return _NewMessages(new_input, output[start:], generated_ids)
