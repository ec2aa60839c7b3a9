from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash


@pytest.fixture
def store(upstash: LocalUpstash) -> Store:
    return Store(upstash.url, upstash.token)


@pytest.fixture(params=["memory", "upstash"])
def saver(request: pytest.FixtureRequest, store: Store) -> Any:
    """A checkpointer: LangGraph's own, and ours."""
    pytest.importorskip("langgraph.graph")
    from langgraph.checkpoint.memory import InMemorySaver

    from chatstash.langgraph import UpstashRedisSaver

    return InMemorySaver() if request.param == "memory" else UpstashRedisSaver(store=store)


@pytest.fixture
def history(store: Store, session_id: str) -> UpstashRedisChatMessageHistory:
    return UpstashRedisChatMessageHistory(session_id, store=store)


@pytest.fixture
def echo(saver: Any) -> Callable[..., Any]:
    """Compile graphs that answer how many messages they see; the channel of messages may be a delta channel."""
    return lambda kind="list", **options: _echo(kind).compile(checkpointer=saver, **options)


def _echo(kind: str) -> Any:
    from langchain_core.messages import AIMessage
    from langgraph.channels import DeltaChannel
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.graph.message import _messages_delta_reducer

    class Delta(TypedDict):
        messages: Annotated[list[Any], DeltaChannel(_messages_delta_reducer)]

    def answer(state: Any) -> Any:
        return {"messages": [AIMessage(f"I see {len(state['messages'])}.")]}

    graph = StateGraph(MessagesState if kind == "list" else Delta)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph
