"""An agent with tools and memory behind FastAPI, streamed as server-sent events.

    pip install chatstash fastapi uvicorn 'langchain[openai]'
    uvicorn --factory agent_app:create_app
    curl -N 'localhost:8000/chat/user-42?question=What+is+the+weather+in+Rome'

The conversation is stored in Upstash Redis: set UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN.
test_agent_app.py runs it without an account and without a network.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from chatstash import ChatstashError, Store, UpstashRedisChatMessageHistory
from chatstash.langchain import ChatHistoryMiddleware


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}."


def create_app(model: str | BaseChatModel = "openai:gpt-5-mini") -> FastAPI:
    """Make the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Store(ttl=86_400, timeout=10) as store:
            memory = ChatHistoryMiddleware(store=store, read_last=50)
            app.state.store = store
            app.state.agent = create_agent(model, [weather], middleware=[memory])
            yield

    app = FastAPI(lifespan=lifespan)

    # In production, take the user from the login, not from the URL.
    @app.get("/chat/{user}")
    async def chat(user: str, question: str, request: Request) -> StreamingResponse:
        # A client that repeats a request with the same key gets the stored answer: the model is not asked again.
        config: RunnableConfig = {"configurable": {"session_id": user}}
        if (event := request.headers.get("idempotency-key")) is not None:
            config["configurable"]["idempotency_key"] = event
        return StreamingResponse(events(app.state.agent, question, config), media_type="text/event-stream")

    @app.get("/chat/{user}/transcript")
    async def transcript(user: str) -> list[dict[str, str]]:
        history = UpstashRedisChatMessageHistory(user, store=app.state.store)
        result = await history.aread(last=50, tool_calls="stored")
        return [{"role": message.type, "text": message.text} for message in result.messages]

    return app


async def events(agent: Any, question: str, config: RunnableConfig) -> AsyncIterator[str]:
    """Yield the answer, token by token, and the results of tools; a repeated answer in one piece."""
    stored = False
    try:
        async with aclosing(agent.astream({"messages": question}, config, stream_mode="messages")) as parts:
            async for message, _ in parts:
                if isinstance(message, ToolMessage):
                    yield sse("tool", {"name": message.name, "result": message.text})
                elif isinstance(message, AIMessage) and message.text:
                    yield sse("token", {"text": message.text})
        stored = True
    except ChatstashError as error:
        # The answer was streamed, but the turn is not stored.
        yield sse("error", {"error": type(error).__name__})
    yield sse("end", {"stored": stored})


def sse(event: str, data: dict[str, Any]) -> str:
    """Return a server-sent event."""
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"
