"""`ChatHistoryMiddleware` in agents of LangChain 1: a turn is read once and stored once, whatever runs beside it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from langchain_core.messages import AIMessageChunk, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from chatstash.local import LocalUpstash
from tests.langchain.middleware.support import COLOURS, SESSION, THREAD, WAYS, Watched, agent
from tests.langchain.support import history, stored

QUESTIONS = [f"What is the weather {n}? Write to ann{n}@example.org" for n in range(3)]
ANSWERED = [("ai", ""), ("tool", "sunny in Rome"), ("ai", "It is sunny today.")]


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Any:
    return COLOURS[request.param]


def _conversation(questions: list[str]) -> list[tuple[str, Any]]:
    return [message for question in questions for message in [("human", question), *ANSWERED]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_turns_are_shown_and_stored_once_for_two_requests_each(
    upstash: LocalUpstash, way: str, checkpointed: bool
) -> None:
    model = Watched()
    asked = agent(upstash, model=model, checkpointer=InMemorySaver() if checkpointed else None)
    for turn, question in enumerate(QUESTIONS, 1):
        before = upstash.stats
        WAYS[way](asked, {"messages": question}, THREAD if checkpointed else SESSION)
        spent = upstash.stats - before
        assert (spent.requests, spent.billed_commands) == (2, 5 if checkpointed else 3)
        assert stored(upstash) == _conversation(QUESTIONS[:turn])
        assert model.last == _conversation(QUESTIONS[:turn])[:-1]


def test_the_history_is_not_streamed_again(upstash: LocalUpstash) -> None:
    history(upstash).add_user_message("earlier")
    for way in (way for way in WAYS if "values" not in way):
        parts = WAYS[way](agent(upstash), {"messages": "weather?"})
        streamed = [message for part in ([parts] if isinstance(parts, dict) else parts) for message in _texts(part)]
        assert "earlier" not in streamed


def _texts(part: Any) -> list[str]:
    """The texts of all messages anywhere in a part of a stream, except in the input of a model."""
    if isinstance(part, BaseMessage):
        return [] if isinstance(part, AIMessageChunk) else [str(part.content)]
    if isinstance(part, dict):
        if part.get("event") in ("on_chat_model_start", "on_chat_model_end", "on_chain_start"):
            return []
        return [text for value in part.values() for text in _texts(value)]
    return [text for value in part for text in _texts(value)] if isinstance(part, (list, tuple)) else []
