"""`UpstashRedisChatMessageHistory`: the drop-in successor of langchain-community's class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, get_buffer_string

from chatstash.errors import Outcome, OutcomeUnknown
from chatstash.history.editing import Editing
from chatstash.history.records.keys import DEFAULT_PREFIX, conversation_key
from chatstash.history.records.message_id import MessageId
from chatstash.history.records.record import Record
from chatstash.history.session import MAX_IN_FLIGHT_SECONDS, Session
from chatstash.history.store import Store
from chatstash.history.values.options import OptionsWithoutTtl, check_keywords, keywords_of, shows_keywords
from chatstash.history.values.selection import Selection
from chatstash.langchain.guarded_turn import MessagesTurn
from chatstash.langchain.messages import MESSAGES
from chatstash.langchain.results import MessageReadOptions, MessagesResult
from chatstash.langchain.tokens import TokenCounter, check_budget, within_tokens
from chatstash.langchain.write_errors import OnWriteError, checked_hook, report_errors
from chatstash.rest.secret import as_secret

try:
    from langchain_core.chat_history import BaseChatMessageHistory as _Base
except ImportError:  # announced for langchain-core 2.0
    _Base = object  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from upstash_redis import Redis

    from chatstash.langchain.draft import MessagesDraft
    from chatstash.langchain.removal import Removal, Replacement


class _StorePrefix(str):
    """The store's prefix: the old class's default, told apart from the same text given by the caller."""


STORE_PREFIX: str = _StorePrefix(DEFAULT_PREFIX)


class UpstashRedisChatMessageHistory(Editing[BaseMessage], _Base):
    """The messages of one session, kept in an Upstash Redis database.

    A drop-in replacement for langchain-community's class of the same name: same arguments, same members, same stored
    data. Makes no request when constructed; all histories of a database share their connections.

    Args:
        session_id: Names the conversation; any non-empty string.
        url: The database's REST URL; empty for `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: Prefix of the conversation's key; the session id follows. The store's by default, "message_store:"
            without a store.
        ttl: Seconds until the conversation expires, 1 to 10^9; every added message restarts it. None for the store's,
            else the expiry stays unchanged.
        max_tokens: Token budget of a read: it returns the newest messages that fit. None for no budget.
        token_counter: Counts tokens. Takes what langchain-core's `trim_messages` takes: a function of a list of
            messages or, annotated so, of one message; a language model; or "approximate", the default.
        user_id: The user the session belongs to: any non-empty string, which becomes part of the key. The session is
            then on the user's session index, for `Store.list_sessions`. None for a session of no user.
        store: A `Store` to share; its url and token are used, and its options are the defaults.
        on_write_error: A plain function called with the error when messages could not be added, before it is raised.
            The error is also logged, by the logger `chatstash`. For callers that swallow errors.
        options: Further options of the conversation, each documented at `Options`; None for the store's.

    Raises:
        ValueError: An argument is invalid, there is no url or token, or `store` is given together with `url` or
            `token`.
        TypeError: An option does not exist.

    Example:
        ```python
        from chatstash import UpstashRedisChatMessageHistory

        history = UpstashRedisChatMessageHistory("user-42", ttl=86_400)
        history.add_user_message("Hello")
        print(history.messages)
        ```
    """

    @shows_keywords(OptionsWithoutTtl)
    def __init__(
        self,
        session_id: str,
        url: str = "",
        token: str = "",
        key_prefix: str = STORE_PREFIX,
        ttl: int | None = None,
        *,
        user_id: str | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        store: Store | None = None,
        on_write_error: OnWriteError | None = None,
        **options: Unpack[OptionsWithoutTtl],
    ) -> None:
        # Tracebacks that show arguments show neither the token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        check_keywords(options, keywords_of(UpstashRedisChatMessageHistory.__init__), "UpstashRedisChatMessageHistory")
        self._store = _store_of(store, url, token)
        if isinstance(key_prefix, _StorePrefix):
            key_prefix = self._store.key_prefix
        key = conversation_key(session_id, key_prefix, user_id)
        self.session_id = session_id
        self.user_id = user_id
        self.key_prefix = key_prefix
        self.on_write_error = checked_hook(on_write_error)
        check_budget(max_tokens, token_counter)
        self._max_tokens, self._token_counter = max_tokens, token_counter
        if (start_on := options.get("start_on")) is not None:
            options["start_on"] = MESSAGES.type_names(start_on)
        self._options = self._store.options.changed({"ttl": ttl, **options})
        self.ttl = self._options.ttl
        self.refresh_ttl_on_read = self._options.refresh_ttl_on_read
        # Raises if the options do not suit the session. Not self._session(): a subclass may not be ready yet.
        self._store.open_session(MESSAGES, key, self._options, key_prefix=key_prefix)

    def __repr__(self) -> str:
        # vars: a traceback may show the locals of an unfinished constructor.
        shown = ", ".join(f"{name}={vars(self).get(name)!r}" for name in ("session_id", "key_prefix", "ttl"))
        return f"{type(self).__name__}({shown})"

    def __str__(self) -> str:
        """Return the conversation as text; one request, as langchain-core's base class does."""
        return get_buffer_string(self.messages)

    @property
    def key(self) -> str:
        """The conversation's key.

        Raises:
            ValueError: `session_id`, `user_id` or `key_prefix` was set to an invalid value.
        """
        return conversation_key(self.session_id, self.key_prefix, self.user_id)

    @cached_property
    def redis_client(self) -> Redis:
        """An `upstash_redis.Redis` for the same database, made when first asked for; chatstash itself uses none.

        Raises:
            ImportError: The package `upstash-redis` is not installed.
        """
        try:
            from upstash_redis import Redis  # noqa: PLC0415 - an optional package
        except ImportError as error:
            raise ImportError(
                "redis_client needs the package upstash-redis, which chatstash itself does not use: "
                "pip install upstash-redis"
            ) from error
        endpoint = self._store.endpoint
        return Redis(url=endpoint.url, token=endpoint.token.get_secret_value())

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages that `read` returns without arguments. Costs and raises what `read` does."""
        session = self._session()
        return session.items_of(session.run(session.reading(self._selection(session, {}))))

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages as `messages` does, without blocking the event loop."""
        session = self._session()
        return session.items_of(await session.arun(session.reading(self._selection(session, {}))))

    def session(self) -> Session[BaseMessage]:
        """Return the conversation as a `Session` of messages, with the history's options. Makes no request."""
        return self._session()

    @property
    def sync_token(self) -> str | None:
        """The conversation's read-your-writes token; see `Session.sync_token`."""
        return self._session().sync_token

    @sync_token.setter
    def sync_token(self, token: str | None) -> None:
        self._session().sync_token = token

    @shows_keywords(MessageReadOptions)
    def read(self, **wanted: Unpack[MessageReadOptions]) -> MessagesResult:
        """Return messages with their records and the cost of the read; works, costs and raises as `Session.read`.

        A token budget costs three commands a request. If the first request fetched too few messages, the next fetches
        as many again, until one does not fit.

        Args:
            wanted: Which messages, and how they are returned: see `ReadOptions` and `MessageReadOptions`.
        """
        session = self._session()
        contents = session.run(session.reading(self._selection(session, wanted)))
        return MessagesResult.of(session.result_of(contents))

    @shows_keywords(MessageReadOptions)
    async def aread(self, **wanted: Unpack[MessageReadOptions]) -> MessagesResult:
        """Read as `read` does, without blocking the event loop."""
        session = self._session()
        contents = await session.arun(session.reading(self._selection(session, wanted)))
        return MessagesResult.of(session.result_of(contents))

    def count(self) -> int:
        """Count the messages, as `Session.count` does."""
        return self._session().count()

    async def acount(self) -> int:
        """Count as `count` does, without blocking the event loop."""
        return await self._session().acount()

    def records(self) -> list[Record]:
        """Return the stored records, as `Session.records` does."""
        return self._session().records()

    async def arecords(self) -> list[Record]:
        """Return records as `records` does, without blocking the event loop."""
        return await self._session().arecords()

    def add_message(self, message: BaseMessage) -> None:
        """Add one message, as `add_messages` does."""
        self.add_messages([message])

    def add_messages(
        self,
        messages: Sequence[BaseMessage],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Add messages in their order, all or none, exactly once; costs and raises as `Session.append`.

        A `RemoveMessage` removes the message with its id, as `delete_messages` does, and is not stored. After one with
        the id `REMOVE_ALL_MESSAGES`, the messages that follow replace the whole conversation.

        Args:
            messages: The messages, oldest first.
            idempotency_key: A name for this call, such as the id of an event that may be delivered twice.
            metadata: The application's own data, stored with each of the messages; see `Session.append`.

        Raises:
            UnstorableMessage: Messages to remove and messages to add are mixed; nothing was sent.
        """
        session = self._session()
        with report_errors(session.key, self.on_write_error):
            if removal := _removal_in(messages, idempotency_key, metadata):
                removal.run(session)
            else:
                session.append(messages, idempotency_key=idempotency_key, metadata=metadata)

    async def aadd_messages(
        self,
        messages: Sequence[BaseMessage],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Add messages as `add_messages` does, without blocking the event loop."""
        session = self._session()
        with report_errors(session.key, self.on_write_error):
            if removal := _removal_in(messages, idempotency_key, metadata):
                await removal.arun(session)
            else:
                await session.aappend(messages, idempotency_key=idempotency_key, metadata=metadata)

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add a message of the user, given as a message or its text; one request."""
        self.add_message(HumanMessage(content=message) if isinstance(message, str) else message)

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add a message of the AI, given as a message or its text; one request."""
        self.add_message(AIMessage(content=message) if isinstance(message, str) else message)

    def guarded_turn(self, *, replacing: MessageId | None = None) -> MessagesTurn:
        """Return a guarded turn, as `Session.guarded_turn` does; see `MessagesTurn`."""
        session = self._session()
        return MessagesTurn(session, self._selection(session, {}), self.on_write_error, replacing)

    def draft(self, *, every: float = 1.0) -> MessagesDraft:
        """Return a draft: a reply that is stored while it is written, as `Session.draft`; see `MessagesDraft`."""
        from chatstash.langchain.draft import MessagesDraft  # noqa: PLC0415 - few processes write drafts

        return MessagesDraft(self._session(), every, self.on_write_error)

    def check_outcome(self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = MAX_IN_FLIGHT_SECONDS) -> Outcome:
        """Return the outcome of a write whose reply was lost, as `Session.check_outcome` does."""
        return self._session().check_outcome(lost, in_flight_seconds=in_flight_seconds)

    async def acheck_outcome(
        self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = MAX_IN_FLIGHT_SECONDS
    ) -> Outcome:
        """Return the outcome as `check_outcome` does, without blocking the event loop."""
        return await self._session().acheck_outcome(lost, in_flight_seconds=in_flight_seconds)

    def stored_for(self, idempotency_key: str) -> list[BaseMessage] | None:
        """Return the messages that were added with an idempotency key, as `Session.stored_for` does."""
        return self._session().stored_for(idempotency_key)

    async def astored_for(self, idempotency_key: str) -> list[BaseMessage] | None:
        """Return messages as `stored_for` does, without blocking the event loop."""
        return await self._session().astored_for(idempotency_key)

    def clear(self) -> None:
        """Delete the conversation, as `Session.clear` does."""
        self._session().clear()

    async def aclear(self) -> None:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        await self._session().aclear()

    def _runner(self) -> Session[BaseMessage]:
        return self._session()

    def _session(self) -> Session[BaseMessage]:
        # A new one each time: as in the old class, users may set session_id, key_prefix and ttl, or override key.
        options = self._options
        if self.ttl is not options.ttl or self.refresh_ttl_on_read is not options.refresh_ttl_on_read:
            options = replace(options, ttl=self.ttl, refresh_ttl_on_read=self.refresh_ttl_on_read)
        return self._store.open_session(MESSAGES, self.key, options, key_prefix=self.key_prefix)

    def _selection(self, session: Session[BaseMessage], wanted: MessageReadOptions) -> Selection:
        if not wanted and self._max_tokens is None:
            return session.selection({})
        check_keywords(wanted, MessageReadOptions.__annotations__, "read")
        rest: Any = dict(wanted)
        max_tokens, token_counter = rest.pop("max_tokens", None), rest.pop("token_counter", None)
        if max_tokens is None and rest.get("last") is None and rest.get("before") is None:
            max_tokens = self._max_tokens
        selection = session.selection(rest)
        if max_tokens is not None:
            counter = self._token_counter if token_counter is None else token_counter
            return within_tokens(selection, max_tokens, counter, session.options.on_corrupt)
        if token_counter is not None:
            raise ValueError("token_counter= requires max_tokens=")
        return selection

    def __getstate__(self) -> dict[str, Any]:
        # The SDK's client holds the token.
        return {name: value for name, value in vars(self).items() if name != "redis_client"}


def _removal_in(
    messages: Sequence[BaseMessage], idempotency_key: object, metadata: object
) -> Removal | Replacement | None:
    """Return what messages to add remove or replace; None where they only add, as almost always."""
    if not isinstance(messages, (list, tuple)) or not any(isinstance(each, RemoveMessage) for each in messages):
        return None
    from chatstash.langchain.removal import removal_in  # noqa: PLC0415 - few processes remove messages

    return removal_in(messages, has_options=idempotency_key is not None or metadata is not None)


def _store_of(store: Store | None, url: str, token: str) -> Store:
    if store is None:
        return Store.shared(url, token)
    if not isinstance(store, Store):
        raise ValueError(f"store must be a Store, not {type(store).__name__}")
    if url or token:
        raise ValueError("give either store= or url= and token=, not both: a store has its own")
    return store
