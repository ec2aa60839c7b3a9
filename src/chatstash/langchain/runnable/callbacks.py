"""What a run did, recorded by LangChain's callbacks: the messages of models and tools, and the states of a graph.

The chunks of a graph's stream depend on the caller's `stream_mode`, and none of them is its output. Its callbacks are
the same in every mode: `on_chain_end` of the graph has the whole output, that of a node has the node's update. A node
is a run whose metadata has another checkpoint namespace than the run around it:
https://docs.langchain.com/oss/python/langgraph/streaming.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, BaseMessageChunk, RemoveMessage

from chatstash.langchain.runnable.chunks import messages_in
from chatstash.langchain.runnable.inputs_outputs import STATE_KEY

NAMESPACE = "langgraph_checkpoint_ns"
"""The metadata key of the checkpoint namespace of the node a run is in."""

_ALL = "__remove_all__"


class GraphTrace:
    """What a graph did: its output and the input of its first node, if known, and the updates of its nodes."""

    def __init__(self) -> None:
        self.output: Any = None
        self.inputs: Any = None
        self.updates: list[Any] = []
        self.namespaces: set[str] = set()

    def state_messages(self, key: str | None, updates: Iterable[BaseMessage]) -> list[BaseMessage]:
        """Return the messages of its state after some updates, merged as by langgraph's `add_messages`."""
        messages = self.input_messages(key) or []
        for message in updates:
            if isinstance(message, RemoveMessage):
                messages = [] if message.id == _ALL else [each for each in messages if each.id != message.id]
                continue
            at = next((at for at, each in enumerate(messages) if message.id and each.id == message.id), len(messages))
            messages = [*messages[:at], message, *messages[at + 1 :]]
        return messages

    def update_messages(self) -> list[BaseMessage]:
        """Return the messages of its nodes' updates, in their order; a rewritten message appears again."""
        return [message for update in self.updates for message in messages_in(update)]

    def updates_until(self, received: Collection[str | None]) -> list[BaseMessage]:
        """Return the messages of its updates up to the last that has a message with one of these ids, else of all."""
        updates = [list(messages_in(update)) for update in self.updates]
        last = max((at for at, each in enumerate(updates) if _has_any(each, received)), default=len(updates))
        return [message for update in updates[: last + 1] for message in update]

    def input_messages(self, key: str | None) -> list[BaseMessage] | None:
        """Return the messages of its first node's input, at a key or at `messages`; None if unknown."""
        held = self.inputs.get(key or STATE_KEY) if isinstance(self.inputs, Mapping) else None
        if not isinstance(held, (list, tuple)) or not held:
            return None
        return list(held) if all(isinstance(message, BaseMessage) for message in held) else None


def _has_any(messages: Iterable[BaseMessage], ids: Collection[str | None]) -> bool:
    return any(message.id in ids for message in messages if not isinstance(message, RemoveMessage))


class RunTracer(BaseCallbackHandler):
    """Records a run and the runs within it. Used for one run."""

    run_inline = True

    def __init__(self) -> None:
        self._generated: list[BaseMessage] = []
        self._root: UUID | None = None
        self._namespaces: dict[UUID, str | None] = {}
        self._graphs: dict[UUID, GraphTrace] = {}
        self._nodes: dict[UUID, GraphTrace] = {}
        self._open_streams: dict[UUID, list[BaseMessageChunk]] = {}

    @property
    def graph(self) -> GraphTrace | None:
        """The graph that answered: the last one that did not run within a node; None without one."""
        return next(reversed(self._graphs.values()), None)

    def generated_ids(self, earlier: Iterable[BaseMessage]) -> set[str]:
        """Return the ids of the messages that were generated in this run, except those of earlier messages."""
        return {message.id for message in self._generated if message.id} - {message.id for message in earlier}

    def unfinished_chunks(self) -> list[BaseMessageChunk]:
        """Return the chunks of models that a graph's nodes called and that have not ended."""
        return [chunk for chunks in self._open_streams.values() for chunk in chunks]

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Record a run, and whether it is a node of a graph."""
        run, parent = kwargs["run_id"], kwargs.get("parent_run_id") or kwargs["run_id"]
        namespace = (kwargs.get("metadata") or {}).get(NAMESPACE)
        self._root = self._root or run
        self._namespaces[run] = namespace
        if run == self._root or namespace is None or namespace == self._namespaces.get(parent, namespace):
            return
        if self._namespaces.get(parent) != self._namespaces[self._root]:
            return  # a graph within a node
        graph = self._graphs.setdefault(parent, GraphTrace())
        graph.inputs = inputs if graph.inputs is None else graph.inputs
        graph.namespaces.add(namespace)
        self._nodes[run] = graph

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        """Record the output of a graph or the update of a node."""
        run = kwargs["run_id"]
        if run in self._graphs:
            self._graphs[run].output = outputs
        elif run in self._nodes:
            self._nodes[run].updates.append(outputs)

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Record a model that a node calls, except those of middleware, such as one that summarises."""
        self._root = self._root or kwargs["run_id"]
        metadata = kwargs.get("metadata") or {}
        is_in_node = any(metadata.get(NAMESPACE) in graph.namespaces for graph in self._graphs.values())
        if is_in_node and "lc_source" not in metadata:
            self._open_streams[kwargs["run_id"]] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Record a chunk."""
        message = getattr(kwargs.get("chunk"), "message", None)
        if isinstance(message, BaseMessageChunk) and kwargs["run_id"] in self._open_streams:
            self._open_streams[kwargs["run_id"]].append(message)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        """Record the messages of a model."""
        self._open_streams.pop(kwargs["run_id"], None)
        generations = [generation for each in response.generations for generation in each]
        self._generated += [each.message for each in generations if hasattr(each, "message")]

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Record the result of a tool."""
        self._generated += messages_in(output)
