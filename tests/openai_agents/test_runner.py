"""The SDK's own runner with UpstashSession: turns, parallel tools, handoffs, compaction."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("agents", reason="openai-agents is not installed; make test installs it")

from agents import Agent, Runner, Session, function_tool
from agents.memory import OpenAIResponsesCompactionSession
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from chatstash.openai_agents import UpstashSession
from tests.openai_agents.scripted import ScriptedModel, calls, says, texts

ROOT = Path(__file__).parents[2]


@function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"Sunny in {city}"


def test_turns_with_parallel_tools(upstash: LocalUpstash) -> None:
    model = ScriptedModel(
        calls(("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}')),
        says("Both sunny"),
        says("You asked about Rome"),
    )
    agent = Agent(name="a", model=model, tools=[weather])

    async def use() -> None:
        before = upstash.stats
        await Runner.run(agent, "Weather?", session=UpstashSession("s", upstash.url, upstash.token))
        assert (upstash.stats - before).requests <= 4
        result = await Runner.run(agent, "What did I ask?", session=UpstashSession("s", upstash.url, upstash.token))
        assert result.final_output == "You asked about Rome"

    asyncio.run(use())
    assert texts(model.inputs[-1]) == [
        "user: Weather?",
        "function_call: weather",
        "function_call: weather",
        "function_call_output: Sunny in Rome",
        "function_call_output: Sunny in Oslo",
        "assistant: Both sunny",
        "user: What did I ask?",
    ]
    messages = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token).messages
    assert [type(message) for message in messages] == [
        HumanMessage,
        AIMessage,
        ToolMessage,
        ToolMessage,
        AIMessage,
        HumanMessage,
        AIMessage,
    ]
    assert isinstance(messages[1], AIMessage)
    assert len(messages[1].tool_calls) == 2


def test_it_is_a_session_of_the_sdk(upstash: LocalUpstash) -> None:
    assert isinstance(UpstashSession("s", upstash.url, upstash.token), Session)


def test_compaction_is_one_step(upstash: LocalUpstash) -> None:
    compacted = [{"type": "compaction", "id": "c", "encrypted_content": "x"}]
    done = SimpleNamespace(output=compacted, usage=None, id="r")

    class Responses:
        async def compact(self, **options: Any) -> Any:
            return done

    async def use() -> None:
        session = UpstashSession("s", upstash.url, upstash.token)
        client: Any = SimpleNamespace(responses=Responses())
        compacting = OpenAIResponsesCompactionSession("s", session, client=client, compaction_mode="input")
        await session.add_items([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}])
        before = upstash.stats
        await compacting.run_compaction({"force": True})
        writes = [request for request in upstash.log if request.billed_commands > 2]
        assert (upstash.stats - before).writes > 0
        assert len(writes) == 1
        assert await session.get_items() == compacted

    asyncio.run(use())


def test_the_triage_example(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import openai_agents_triage

    model = ScriptedModel(
        calls(("transfer_to_refunds", "{}")),
        calls(("refund", '{"order_id": "12"}')),
        says("Your order is refunded."),
        says("You are welcome."),
    )
    assert asyncio.run(openai_agents_triage.answer("c", "My money back", model)) == "Your order is refunded."
    assert asyncio.run(openai_agents_triage.answer("c", "Thanks", model)) == "You are welcome."
    assert texts(model.inputs[-1])[0] == "user: My money back"
    assert "function_call_output: Order 12 is refunded." in texts(model.inputs[-1])
