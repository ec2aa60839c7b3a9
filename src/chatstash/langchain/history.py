"""`UpstashRedisChatMessageHistory`: the class of langchain-community, kept in step with it and made whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, get_buffer_string

from chatstash.history.keys import DEFAULT_PREFIX, checked_ttl, conversation_key
from chatstash.history.records import Record
from chatstash.history.results import ReadResult
from chatstash.history.session import Session
from chatstash.history.store import SharedStore, Store
from chatstash.langchain.messages import to_message, to_records
from chatstash.rest.endpoint import veiled
from chatstash.rest.limits import checked_retries, checked_timeout

try:
    from langchain_core.chat_history import BaseChatMessageHistory as _Base
except ImportError:  # announced for langchain-core 2.0
    _Base = object  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from upstash_redis import Redis


# Equal to the default the old class has, and yet told apart from the same text given by the caller.
_PREFIX_NOT_GIVEN = "".join(DEFAULT_PREFIX)


@dataclass(frozen=True)
class MessagesResult(ReadResult):
    """Messages of a conversation, their records, and what reading them cost.

    Attributes:
        messages: The messages, oldest first; `records` holds the record of each, with its id and time.
    """

    messages: list[BaseMessage]


class UpstashRedisChatMessageHistory(_Base):
    """The messages of one session, kept in an Upstash Redis database.

    Takes the place of langchain-community's class of the same name: same arguments, same members, same stored data.
    Makes no request when constructed; all histories of a database share their connections.

    Args:
        session_id: Whose conversation it is; any non-empty string.
        url: The database's REST URL; empty for that of `UPSTASH_REDIS_REST_URL`.
        token: Its token; empty for that of `UPSTASH_REDIS_REST_TOKEN`.
        key_prefix: What the key begins with; the session id follows.
        ttl: Seconds until the conversation expires, 1 to 10^9, set anew with every message added; None for never.
        timeout: Seconds that an operation may take in all, retries included; None for the store's, else 30.
        retries: How often a request that certainly was not applied is sent again; None for the store's, else 3.
        refresh_ttl_on_read: Whether reading sets the expiry anew too, in the same request.
        store: A `Store` to share; its url and token are used, and its key prefix and ttl where none are given here.

    Raises:
        ValueError: An argument cannot be right, url or token is missing altogether, or `store` comes together with
            `url` or `token`.

    Example:
        ```python
        from chatstash import UpstashRedisChatMessageHistory

        history = UpstashRedisChatMessageHistory("user-42", ttl=86_400)
        history.add_user_message("Hello")
        print(history.messages)
        ```
    """

    def __init__(
        self,
        session_id: str,
        url: str = "",
        token: str = "",
        key_prefix: str = _PREFIX_NOT_GIVEN,
        ttl: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        refresh_ttl_on_read: bool = False,
        store: Store | None = None,
    ) -> None:
        # A traceback that shows arguments shows neither a token nor a password in the url.
        url, token = veiled(url), veiled(token)
        if store is not None:
            if url or token:
                raise ValueError("give either store= or url= and token=, not both: a store has its own")
            key_prefix = store.key_prefix if key_prefix is _PREFIX_NOT_GIVEN else key_prefix
            ttl = store.ttl if ttl is None else ttl
        conversation_key(session_id, key_prefix)
        self.session_id = session_id
        self.key_prefix = key_prefix
        self.ttl = checked_ttl(ttl)
        self.refresh_ttl_on_read = refresh_ttl_on_read
        self._store = SharedStore(url, token) if store is None else store
        self._timeout = None if timeout is None else checked_timeout(timeout)
        self._retries = None if retries is None else checked_retries(retries)
        self._redis_client: Redis | None = None

    def __repr__(self) -> str:
        # vars, for a traceback may show the locals of a constructor that is not done.
        shown = ", ".join(f"{name}={vars(self).get(name)!r}" for name in ("session_id", "key_prefix", "ttl"))
        return f"{type(self).__name__}({shown})"

    def __str__(self) -> str:
        """Return the conversation as text; one request, as langchain-core's base class does."""
        return get_buffer_string(self.messages)

    @property
    def key(self) -> str:
        """The key the conversation is stored at."""
        return self.key_prefix + self.session_id

    @property
    def redis_client(self) -> Redis:
        """An `upstash_redis.Redis` for the same database, made when first asked for; chatstash itself uses none.

        Raises:
            ImportError: The package `upstash-redis` is not installed.
        """
        if self._redis_client is None:
            try:
                from upstash_redis import Redis  # noqa: PLC0415 - an optional package
            except ImportError as error:
                raise ImportError(
                    "redis_client needs the package upstash-redis, which chatstash itself does not use: "
                    "pip install upstash-redis"
                ) from error
            endpoint = self._store.endpoint
            self._redis_client = Redis(url=endpoint.url, token=endpoint.token)
        return self._redis_client

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """All messages, oldest first; one request. Costs and raises what `read` does."""
        return self.read().messages

    async def aget_messages(self) -> list[BaseMessage]:
        """Return all messages, oldest first, without blocking the event loop; one request."""
        return (await self.aread()).messages

    def read(self) -> MessagesResult:
        """Return all messages with their records and what reading them cost.

        One request and one command, or two commands where the ttl is refreshed on reading.

        Raises:
            CorruptRecord: A record is no message; says which.
            UnsupportedRecord: A record is of a newer form.
            WrongType: The key holds something else, which was left as it was.
            DatabaseError: Anything else that went wrong.
        """
        return self._messages_of(self._session().read())

    async def aread(self) -> MessagesResult:
        """Read as `read` does, without blocking the event loop."""
        return self._messages_of(await self._session().aread())

    def records(self) -> list[Record]:
        """Return all records, oldest first, each with its time and id; one request."""
        return self._session().records()

    async def arecords(self) -> list[Record]:
        """Return all records as `records` does, without blocking the event loop."""
        return await self._session().arecords()

    def add_message(self, message: BaseMessage) -> None:
        """Add one message; as `add_messages` with one."""
        self.add_messages([message])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages in their order, all or none.

        One request and one command, or two commands with a ttl; no request for an empty sequence.

        Args:
            messages: The messages, oldest first.

        Raises:
            UnstorableMessage: One is no message or holds what JSON cannot; nothing was sent.
            WrongType: The key holds something else, which was left as it was.
            OutcomeUnknown: The reply was lost; the messages may or may not be stored.
            DatabaseError: Anything else that went wrong; its `applied` says what became of the messages.
        """
        self._session().append(to_records(messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages as `add_messages` does, without blocking the event loop."""
        await self._session().aappend(to_records(messages))

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add a message of the user, given as a message or its text; one request."""
        self.add_message(HumanMessage(content=message) if isinstance(message, str) else message)

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add a message of the AI, given as a message or its text; one request."""
        self.add_message(AIMessage(content=message) if isinstance(message, str) else message)

    def clear(self) -> None:
        """Delete the conversation; one request. Raises as `Session.clear` does."""
        self._session().clear()

    async def aclear(self) -> None:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        await self._session().aclear()

    def _session(self) -> Session:
        # Made anew each time, for the old class lets its users set session_id, key_prefix and ttl, or override key.
        return self._store.session_at(
            self.key,
            ttl=self.ttl,
            refresh_ttl_on_read=self.refresh_ttl_on_read,
            timeout=self._timeout,
            retries=self._retries,
        )

    def _messages_of(self, result: ReadResult) -> MessagesResult:
        key = self.key
        messages = [to_message(record, key=key, position=position) for position, record in enumerate(result.records)]
        return MessagesResult(result.records, result.cursor, result.omitted, result.cost, messages)
