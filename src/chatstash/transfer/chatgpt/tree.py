"""The tree of a conversation, and its current branch. Pure.

`mapping` has the nodes by id, each with `message`, `parent` and `children`. `current_node` is the last node of the
branch that the user saw. Newer exports leave out `children`, so only parents are followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Node(NamedTuple):
    """A node with a message.

    Attributes:
        id: The node's id.
        message: Its message.
    """

    id: str
    message: Mapping[str, Any]


class Branch(NamedTuple):
    """The branch of a conversation.

    Attributes:
        nodes: Its nodes with messages, oldest first.
        elsewhere: How many nodes with messages are not on it.
        is_cut: Whether its oldest node has a parent that is missing.
    """

    nodes: list[Node]
    elsewhere: int
    is_cut: bool


def current_branch(conversation: Mapping[str, Any]) -> Branch | None:
    """Return the current branch; None if the conversation has no tree."""
    mapping = conversation.get("mapping")
    if not isinstance(mapping, dict) or not mapping:
        return None
    nodes = {name: node for name, node in mapping.items() if isinstance(node, dict)}
    current = conversation.get("current_node")
    last = current if isinstance(current, str) and current in nodes else _newest_leaf(nodes)
    path = [] if last is None else list(_upwards(nodes, last))
    found = [Node(name, message) for name in reversed(path) if isinstance(message := nodes[name].get("message"), dict)]
    with_message = sum(isinstance(node.get("message"), dict) for node in nodes.values())
    parent = nodes[path[-1]].get("parent") if path else None
    return Branch(found, with_message - len(found), parent is not None and parent not in path)


def _upwards(nodes: Mapping[str, Mapping[str, Any]], name: Any) -> Iterator[str]:
    """Yield the ids from a node to the root; a cycle ends where it closes."""
    seen: set[str] = set()
    while isinstance(name, str) and name in nodes and name not in seen:
        seen.add(name)
        yield name
        name = nodes[name].get("parent")


def _newest_leaf(nodes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the node without children that was written last: where `current_node` is missing."""
    parents = {parent for node in nodes.values() if isinstance(parent := node.get("parent"), str)}
    leaves = [name for name in nodes if name not in parents] or list(nodes)
    return max(leaves, key=lambda name: (_time_of(nodes[name]), leaves.index(name)), default=None)


def _time_of(node: Mapping[str, Any]) -> float:
    message = node.get("message")
    time = message.get("create_time") if isinstance(message, dict) else None
    return time if isinstance(time, (int, float)) and time == time else 0.0  # noqa: PLR0124 - not NaN
