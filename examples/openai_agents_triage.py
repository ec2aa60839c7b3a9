"""A triage of the OpenAI Agents SDK: one agent hands over to another, and the conversation goes on in any process.

pip install 'chatstash[openai-agents]'
export UPSTASH_REDIS_REST_URL=… UPSTASH_REDIS_REST_TOKEN=… OPENAI_API_KEY=…
python openai_agents_triage.py customer-7 'I want my money back for order 12'
"""

import asyncio
import sys

from agents import Agent, Model, Runner, function_tool

from chatstash.openai_agents import UpstashSession

DAY = 86_400


@function_tool
def refund(order_id: str) -> str:
    """Refund an order."""
    return f"Order {order_id} is refunded."


def triage(model: Model | None = None) -> Agent:
    """Return the agent that customers meet first; None is the SDK's default model."""
    refunds = Agent(name="refunds", instructions="Refund orders.", tools=[refund], model=model)
    return Agent(name="triage", instructions="Hand over to the right agent.", handoffs=[refunds], model=model)


async def answer(customer_id: str, question: str, model: Model | None = None) -> str:
    """Answer one message of a customer. Each call may run in another process."""
    session = UpstashSession(customer_id, ttl=30 * DAY)
    result = await Runner.run(triage(model), question, session=session)
    return str(result.final_output)


if __name__ == "__main__":
    print(asyncio.run(answer(sys.argv[1], sys.argv[2])))
