"""One turn of a conversation: what the runnable is given, and which messages are new afterwards. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from chatstash.langchain.alignment import rewritten, split_input, split_output
from chatstash.langchain.inputs_outputs import Keys, input_messages, is_resumption, output_messages
from chatstash.langchain.partial_reply import begun, shown_state, stopped_messages
from chatstash.langchain.recorder import GraphRun, RunRecorder, trimmed_calls
from chatstash.langchain.stream_parts import added_up, messages_among


@dataclass(frozen=True, slots=True)
class Question:
    """The input of a run, looked at before anything is read.

    Attributes:
        keys: Where its dicts hold messages.
        value: The input as it was given.
        messages: Its messages.
    """

    keys: Keys
    value: Any
    messages: list[BaseMessage]

    @classmethod
    def of(cls, keys: Keys, value: Any) -> Question:
        """Return the question that an input asks.

        Raises:
            ValueError: The input is none of the shapes permitted.
        """
        if is_resumption(value):
            return cls(keys, value, [])
        if isinstance(value, dict):
            return cls(keys, value, input_messages(value[keys.input_key_of(value)]))
        if keys.input or keys.history:
            raise ValueError(
                f"the input must be a dict, not a {type(value).__name__}, for input_messages_key or "
                "history_messages_key is given. Nothing was stored."
            )
        return cls(keys, value, input_messages(value))

    def after(self, history: Sequence[BaseMessage]) -> Exchange:
        """Return the turn in which this is asked after a conversation.

        Of an input that repeats the conversation, or its end, only what follows is asked.
        """
        split = split_input(history, self.messages)
        before = [*split.instructions, *history]
        return Exchange(self.keys, self._given(before, split.asked), before, split.asked)

    def _given(self, before: Sequence[BaseMessage], asked: list[BaseMessage]) -> Any:
        if is_resumption(self.value):
            return self.value
        if self.keys.history:
            shorter = {} if asked == self.messages else {self.keys.input_key_of(self.value): asked}
            return {**self.value, **shorter, self.keys.history: list(before)}
        if self.keys.input:
            return {**self.value, self.keys.input: [*before, *asked]}
        return [*before, *asked]


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a run.

    Attributes:
        value: What it gave back, or the parts of its stream added up.
        of_graph: Whether a graph gave it, whose stream has parts of its own kind.
        parts: The parts of its stream; None where it gave back a value.
    """

    value: Any
    of_graph: bool = False
    parts: Sequence[Any] | None = None

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages that the parts hold, of whatever shape they are."""
        return messages_among(self.parts or [])


class _New(NamedTuple):
    """What is new of a turn.

    Attributes:
        asked: The question, as it is stored.
        said: The messages of the reply.
        fresh: The ids of the messages that were made in the run.
    """

    asked: list[BaseMessage]
    said: list[BaseMessage]
    fresh: set[str]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question asked after a conversation.

    Attributes:
        keys: Where the dicts of the runnable hold messages.
        given: The input for the runnable.
        before: What was said before.
        asked: The new messages of the input.
    """

    keys: Keys
    given: Any
    before: list[BaseMessage]
    asked: list[BaseMessage]

    def ended(self, output: Output, run: RunRecorder, *, as_rewritten: bool = False) -> list[BaseMessage]:
        """Return the new messages of a turn whose reply is whole.

        Of an output that repeats what the runnable was given, as an agent's does, only what follows it is new.

        Args:
            output: What the runnable gave back.
            run: What was recorded of the run.
            as_rewritten: Whether the question is stored as the output has it, where that is another form.

        Raises:
            ValueError: The output is none of the shapes permitted.
        """
        held, graph = self._held(output, run)
        if isinstance(held, (str, BaseMessage)):
            return [*self.asked, *output_messages(held)]
        new = self._new_among(output_messages(held), run, graph, as_rewritten=as_rewritten)
        trimmed = trimmed_calls(graph, new.said, new.fresh) if graph else []
        return [*new.asked, *trimmed, *new.said]

    def stopped(
        self, parts: Sequence[Any], run: RunRecorder, *, of_graph: bool = False, as_rewritten: bool = False
    ) -> list[BaseMessage]:
        """Return the new messages of a turn whose reply was stopped; none where the reply had not begun.

        Args:
            parts: The parts of the stream that were shown.
            run: What was recorded of the run until it was stopped.
            of_graph: Whether they are those of a graph.
            as_rewritten: As of `ended`.
        """
        messages = [] if of_graph else self._begun(parts)
        graph = None if messages else run.graph
        if graph is not None:
            messages = shown_state(graph, self.keys.output, parts, run.unfinished())
        new = self._new_among(messages, run, graph, as_rewritten=as_rewritten)
        kept = stopped_messages(new.said)
        return [*new.asked, *kept] if kept else []

    def _new_among(
        self, messages: list[BaseMessage], run: RunRecorder, graph: GraphRun | None, *, as_rewritten: bool
    ) -> _New:
        known = self._known(graph)
        fresh = run.fresh(known)
        start = split_output(known, messages, fresh)
        emitted = graph.emitted() if graph else []
        asked = rewritten(self.asked, messages[:start], emitted) if as_rewritten else self.asked
        return _New(asked, messages[start:], fresh)

    def _held(self, output: Output, run: RunRecorder) -> tuple[Any, GraphRun | None]:
        """Return what an output has at the key of the reply, and the graph whose output it is, if it is one's."""
        graph = run.graph if run.graph is not None and run.graph.output is not None else None
        if graph is not None and output.of_graph and output.parts is not None:
            return self._at_key(graph.output, graph), graph
        try:
            held = self._at_key(output.value, graph)
            said = output_messages(held)
        except ValueError:
            if graph is None and not output.messages:
                raise
            said = []
        if said or (graph is None and not output.messages):
            return held, graph if output.of_graph else None
        return (output.messages, None) if graph is None else (self._at_key(graph.output, graph), graph)

    def _at_key(self, output: Any, graph: GraphRun | None) -> Any:
        is_state = graph is not None
        return output[self.keys.output_key_of(output, is_state=is_state)] if isinstance(output, dict) else output

    def _known(self, graph: GraphRun | None) -> list[BaseMessage]:
        """Return what was given: by a graph's account with the ids it gave them, and what its checkpointer had kept."""
        given = None if graph is None else graph.given(self.keys.output)
        return given or [*self.before, *self.asked]

    def _begun(self, parts: Sequence[Any]) -> list[BaseMessage]:
        output = added_up(parts)
        if isinstance(output, Mapping):
            # Not the only key there is: another may have been about to come.
            key = self.keys.output or next((key for key in ("output", "messages") if key in output), None)
            output = output.get(key)
        return begun(output)
