"""What a run did, as LangChain's callbacks tell it: what models and tools said, and the states of a graph.

The parts of a graph's stream are states, updates, tokens or tuples of these, as its caller chose, and none of them is
its output. Its callbacks tell the same for each of these: `on_chain_end` of the graph has the whole output, that of a
node what the node changed. A node is a run whose metadata name another checkpoint namespace than those of the run it
is in: https://docs.langchain.com/oss/python/langgraph/streaming.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, BaseMessageChunk, RemoveMessage, ToolMessage

from chatstash.langchain.stream_parts import messages_in

NAMESPACE = "langgraph_checkpoint_ns"
"""Where the metadata of a run name the checkpoint namespace of the node it is in."""

_ALL = "__remove_all__"


class GraphRun:
    """What a graph did.

    Attributes:
        output: Its output, or None where it did not end.
        inputs: What its first node was given, or None.
        updates: What its nodes gave back, in that order.
        namespaces: The checkpoint namespaces of its nodes.
    """

    def __init__(self) -> None:
        self.output: Any = None
        self.inputs: Any = None
        self.updates: list[Any] = []
        self.namespaces: set[str] = set()

    def state(self, key: str | None) -> list[BaseMessage]:
        """Return the messages of its state after the nodes that ended, as langgraph's `add_messages` keeps them.

        Args:
            key: Where its state holds messages; None for `messages`.
        """
        messages = self.given(key) or []
        return _merged(messages, self.emitted())

    def emitted(self) -> list[BaseMessage]:
        """Return the messages that its nodes gave back, in that order; one that was rewritten comes again."""
        return [message for update in self.updates for message in messages_in(update)]

    def given(self, key: str | None) -> list[BaseMessage] | None:
        """Return the messages of the state that its first node was given; None where that is not known."""
        held = self.inputs.get(key or "messages") if isinstance(self.inputs, Mapping) else None
        if not isinstance(held, (list, tuple)) or not held:
            return None
        return list(held) if all(isinstance(message, BaseMessage) for message in held) else None


class RunRecorder(BaseCallbackHandler):
    """Records a run and what runs within it. Used for one run.

    Attributes:
        made: The messages that models and tools gave back.
    """

    run_inline = True

    def __init__(self) -> None:
        self.made: list[BaseMessage] = []
        self._root: UUID | None = None
        self._namespaces: dict[UUID, str | None] = {}
        self._graphs: dict[UUID, GraphRun] = {}
        self._nodes: dict[UUID, GraphRun] = {}
        self._tokens: dict[UUID, list[BaseMessageChunk]] = {}

    @property
    def graph(self) -> GraphRun | None:
        """The graph that answered: the last that was run by the run itself, and not by a node; None for none."""
        return next(reversed(self._graphs.values()), None)

    def fresh(self, known: Iterable[BaseMessage]) -> set[str]:
        """Return the ids of the messages that were made in this run, less those of known messages."""
        return {message.id for message in self.made if message.id} - {message.id for message in known if message.id}

    def unfinished(self) -> list[BaseMessageChunk]:
        """Return the chunks of models that were called by a graph's nodes and have not ended."""
        return [chunk for chunks in self._tokens.values() for chunk in chunks]

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Note a run, and whether it is a graph's node."""
        run, parent = kwargs["run_id"], kwargs.get("parent_run_id") or kwargs["run_id"]
        namespace = (kwargs.get("metadata") or {}).get(NAMESPACE)
        self._root = self._root or run
        self._namespaces[run] = namespace
        if run == self._root or namespace is None or namespace == self._namespaces.get(parent, namespace):
            return
        if self._namespaces.get(parent) != self._namespaces[self._root]:
            return  # a graph within a node
        graph = self._graphs.setdefault(parent, GraphRun())
        graph.inputs = inputs if graph.inputs is None else graph.inputs
        graph.namespaces.add(namespace)
        self._nodes[run] = graph

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        """Note what a graph or a node gave back."""
        run = kwargs["run_id"]
        if run in self._graphs:
            self._graphs[run].output = outputs
        elif run in self._nodes:
            self._nodes[run].updates.append(outputs)

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Note a model that a node calls; one that summarises, say, does not answer."""
        self._root = self._root or kwargs["run_id"]
        metadata = kwargs.get("metadata") or {}
        of_a_node = any(metadata.get(NAMESPACE) in graph.namespaces for graph in self._graphs.values())
        if of_a_node and "lc_source" not in metadata:
            self._tokens[kwargs["run_id"]] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Note a chunk."""
        message = getattr(kwargs.get("chunk"), "message", None)
        if isinstance(message, BaseMessageChunk) and kwargs["run_id"] in self._tokens:
            self._tokens[kwargs["run_id"]].append(message)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        """Note what a model said."""
        self._tokens.pop(kwargs["run_id"], None)
        generations = [generation for each in response.generations for generation in each]
        self.made += [each.message for each in generations if hasattr(each, "message")]

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Note what a tool gave back."""
        self.made += messages_in(output)


def _merged(messages: list[BaseMessage], update: Sequence[BaseMessage]) -> list[BaseMessage]:
    for message in update:
        if isinstance(message, RemoveMessage):
            messages = [] if message.id == _ALL else [each for each in messages if each.id != message.id]
            continue
        at = next((at for at, each in enumerate(messages) if message.id and each.id == message.id), None)
        messages = [*messages, message] if at is None else [*messages[:at], message, *messages[at + 1 :]]
    return messages


def call_ids(message: BaseMessage) -> list[str | None]:
    """Return the ids of the tool calls that a message makes, or of the one it answers."""
    if isinstance(message, ToolMessage):
        return [message.tool_call_id]
    return [call["id"] for call in message.tool_calls] if isinstance(message, AIMessage) else []


def finished_calls(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Return the messages of tool calls that all have their results, and these, each once, in their order."""
    each = list({message.id or id(message): message for message in messages}.values())
    results = {name for message in each if isinstance(message, ToolMessage) for name in call_ids(message)}
    callers = [message for message in each if isinstance(message, AIMessage) and results.issuperset(call_ids(message))]
    called = {name for message in callers for name in call_ids(message)}
    return [message for message in each if call_ids(message) and called.issuperset(call_ids(message))]


def trimmed_calls(graph: GraphRun, said: Sequence[BaseMessage], fresh: Collection[str]) -> list[BaseMessage]:
    """Return the calls that were made in a run, and their results, that its graph trimmed from its state meanwhile.

    Args:
        graph: The graph.
        said: The messages of its output that are new.
        fresh: The ids of what models and tools made in the run.
    """
    ids = {message.id for message in said}
    copied = {(message.type, name) for message in said if message.id not in fresh for name in call_ids(message)}
    return [
        call
        for call in finished_calls(message for message in graph.emitted() if message.id in fresh)
        if call.id not in ids and copied.isdisjoint((call.type, name) for name in call_ids(call))
    ]
