"""Moves conversations of langchain-community's class, of LangChain.js or of chatstash into LangGraph threads.

    pip install 'chatstash[langgraph]' 'langchain[openai]'
    python move_to_langgraph.py user-42 user-43

Then an agent continues each of them. `chatstash migrate` moves all conversations of a database.
Set UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from chatstash import Store, UpstashRedisChatMessageHistory
from chatstash.langgraph import UpstashRedisSaver, import_history


def main(session_ids: Sequence[str], model: str | BaseChatModel, key_prefix: str = "message_store:") -> None:
    """Move conversations, and ask each about itself. LangChain.js uses no key prefix."""
    with Store(key_prefix=key_prefix) as store:
        saver = UpstashRedisSaver(store=store)
        agent = create_agent(model, checkpointer=saver)
        for session_id in session_ids:
            history = UpstashRedisChatMessageHistory(session_id, store=store)
            result = import_history(history, saver, session_id)
            print(f"{session_id}: {result.status}, {result.added} of {result.messages} messages added")
            config: RunnableConfig = {"configurable": {"thread_id": session_id}}
            state = agent.invoke({"messages": [HumanMessage("What did we talk about?")]}, config)
            print(state["messages"][-1].content)


if __name__ == "__main__":
    main(sys.argv[1:], "openai:gpt-5-mini")
