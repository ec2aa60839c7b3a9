"""The libraries that store chat messages in Redis, behind one interface: one class each, one conversation each."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from langchain_core.messages import BaseMessage

from benchmarks.local_server import TOKEN
from chatstash import Store, UpstashRedisChatMessageHistory

TTL = 3600


class Peer:
    """A conversation in one library.

    Args:
        session_id: The conversation's session id.
        url: The database's REST URL.
        redis_url: The same database over the Redis protocol.

    Attributes:
        name: The library.
        over_http: Whether it uses Upstash's REST API; the others use the Redis protocol.
    """

    name: ClassVar[str]
    over_http: ClassVar[bool] = True

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        raise NotImplementedError

    def add(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages with the library's method for several at once."""
        raise NotImplementedError

    def read(self) -> Sequence[Any]:
        """Read all messages as the library's objects."""
        raise NotImplementedError

    async def aread(self) -> Sequence[Any]:
        """Read as `read` does, asynchronously."""
        return await asyncio.to_thread(self.read)

    async def aadd(self, messages: Sequence[BaseMessage]) -> None:
        """Add as `add` does, asynchronously."""
        await asyncio.to_thread(self.add, messages)

    def close(self) -> None:
        """Close the connections."""


class Chatstash(Peer):
    """chatstash as the drop-in successor, without an explicit store."""

    name = "chatstash"

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        self.history = UpstashRedisChatMessageHistory(session_id, url, TOKEN, ttl=TTL)

    def add(self, messages: Sequence[BaseMessage]) -> None:
        self.history.add_messages(messages)

    def read(self) -> Sequence[Any]:
        return self.history.messages

    async def aread(self) -> Sequence[Any]:
        return await self.history.aget_messages()

    async def aadd(self, messages: Sequence[BaseMessage]) -> None:
        await self.history.aadd_messages(messages)


class ChatstashCached(Chatstash):
    """chatstash with a cache of 50 MB."""

    name = "chatstash, cached"

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        self._store = Store(url, TOKEN, ttl=TTL, cache_bytes=50_000_000)
        self.history = UpstashRedisChatMessageHistory(session_id, store=self._store)

    def close(self) -> None:
        self._store.close()


class Community(Chatstash):
    """langchain-community's class."""

    name = "langchain-community"

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from langchain_community.chat_message_histories import (  # noqa: PLC0415 - it warns
                UpstashRedisChatMessageHistory as CommunityHistory,
            )
        self.history: Any = CommunityHistory(session_id, url, TOKEN, ttl=TTL)

    def close(self) -> None:
        self.history.redis_client.close()


class LlamaIndex(Peer):
    """LlamaIndex's chat store for Upstash."""

    name = "LlamaIndex"

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        from llama_index.core.llms import ChatMessage  # noqa: PLC0415 - a peer, not installed everywhere
        from llama_index.storage.chat_store.upstash import UpstashChatStore  # noqa: PLC0415

        self._message: Any = ChatMessage
        self._store: Any = UpstashChatStore(redis_url=url, redis_token=TOKEN, ttl=TTL)
        self._key = f"llama:{session_id}"

    def add(self, messages: Sequence[BaseMessage]) -> None:
        for message in self._made(messages):
            self._store.add_message(self._key, message)

    def read(self) -> Sequence[Any]:
        return self._store.get_messages(self._key)  # type: ignore[no-any-return]

    async def aread(self) -> Sequence[Any]:
        return await self._store.aget_messages(self._key)  # type: ignore[no-any-return]

    async def aadd(self, messages: Sequence[BaseMessage]) -> None:
        for message in self._made(messages):
            await self._store.async_add_message(self._key, message)

    def _made(self, messages: Sequence[BaseMessage]) -> list[Any]:
        roles = {"human": "user", "ai": "assistant"}
        return [self._message(role=roles[message.type], content=message.content) for message in messages]


class LangchainRedis(Peer):
    """langchain-redis; it needs Redis's search module."""

    name = "langchain-redis"
    over_http = False

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        from langchain_redis import RedisChatMessageHistory  # noqa: PLC0415 - a peer, not installed everywhere

        self.history: Any = RedisChatMessageHistory(session_id, redis_url=redis_url, ttl=TTL)

    def add(self, messages: Sequence[BaseMessage]) -> None:
        self.history.add_messages(messages)

    def read(self) -> Sequence[Any]:
        return self.history.messages  # type: ignore[no-any-return]


class OpenAIAgents(Peer):
    """The Redis session of OpenAI's agents SDK; its items are plain dicts, and it is asynchronous only."""

    name = "openai-agents"
    over_http = False

    def __init__(self, session_id: str, url: str, redis_url: str) -> None:
        from agents.extensions.memory import RedisSession  # noqa: PLC0415 - a peer, not installed everywhere

        self._loop = asyncio.new_event_loop()
        self._session: Any = RedisSession.from_url(session_id, url=redis_url, ttl=TTL)

    def add(self, messages: Sequence[BaseMessage]) -> None:
        roles = {"human": "user", "ai": "assistant"}
        items = [{"role": roles[message.type], "content": message.content} for message in messages]
        self._loop.run_until_complete(self._session.add_items(items))

    def read(self) -> Sequence[Any]:
        return self._loop.run_until_complete(self._session.get_items())  # type: ignore[no-any-return]

    def close(self) -> None:
        self._loop.run_until_complete(self._session.close())
        self._loop.close()


EVERY: Sequence[type[Peer]] = (Chatstash, ChatstashCached, Community, LlamaIndex, LangchainRedis, OpenAIAgents)


def able(make: Callable[[type[Peer]], Peer]) -> tuple[list[type[Peer]], dict[str, str]]:
    """Return the libraries that work here, and why the others do not.

    Args:
        make: Makes a conversation.
    """
    found: list[type[Peer]] = []
    absent: dict[str, str] = {}
    for kind in EVERY:
        try:
            peer = make(kind)
            peer.read()
            peer.close()
        except Exception as error:  # noqa: BLE001 - any error of another library is reported
            absent[kind.name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        else:
            found.append(kind)
    return found, absent
