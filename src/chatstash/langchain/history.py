"""`UpstashRedisChatMessageHistory`: the drop-in successor of langchain-community's class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, get_buffer_string

from chatstash.errors import Outcome, OutcomeUnknown
from chatstash.history.conversation import LONGEST_IN_FLIGHT, Conversation
from chatstash.history.options import Delivery, OnCorrupt
from chatstash.history.records.keys import DEFAULT_PREFIX, conversation_key
from chatstash.history.records.record import Record
from chatstash.history.results import Cursor
from chatstash.history.selection import Selection, Wanted, selection_of
from chatstash.history.session import Session
from chatstash.history.store import SharedStore, Store
from chatstash.history.tool_calls.shape import ToolCalls
from chatstash.langchain.guarded_turn import MessagesTurn
from chatstash.langchain.messages import StartOn, to_records, types_of
from chatstash.langchain.results import MessagesResult, messages_of, messages_result, readable_messages
from chatstash.langchain.tokens import TokenCounter, TokenLimit
from chatstash.langchain.write_errors import OnWriteError, checked_hook, write_watched
from chatstash.rest.limits import RetryPolicy
from chatstash.rest.secret import as_secret

try:
    from langchain_core.chat_history import BaseChatMessageHistory as _Base
except ImportError:  # announced for langchain-core 2.0
    _Base = object  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from upstash_redis import Redis


# Equal to the default the old class has, and yet told apart from the same text given by the caller.
_PREFIX_NOT_GIVEN = "".join(DEFAULT_PREFIX)


class UpstashRedisChatMessageHistory(_Base):
    """The messages of one session, kept in an Upstash Redis database.

    Takes the place of langchain-community's class of the same name: same arguments, same members, same stored data.
    Makes no request when constructed; all histories of a database share their connections.

    Args:
        session_id: Whose conversation it is; any non-empty string.
        url: The database's REST URL; empty for that of `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for that of `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: What the key begins with; the session id follows.
        ttl: Seconds until the conversation expires, 1 to 10^9, set anew with every message added; None for the
            store's, and without one to leave the expiry as it is.
        timeout: Seconds that an operation may take in all, retries included; None for the store's, else 30.
        retries: How many retries there are at most; 0 means one attempt. None for the store's, else as many as fit into
            80 % of `timeout`. An append that may have been applied is settled, not sent again as it was.
        refresh_ttl_on_read: Whether reading sets the expiry anew too, in the same request; None for the store's.
        retry_policy: A budget for each class of operation; `timeout` and `retries` go before it; None for the store's.
        max_request_bytes: What a request or reply may have, in bytes: larger appends are staged, larger reads come in
            pages; None for the store's, else 10^7.
        idempotency_ttl: Seconds for which an idempotency key is remembered; None for the store's, else 86400.
        on_corrupt: What reading does with a record that cannot be read: `raise` an error that has all the others,
            `skip` it, or put a `placeholder` in its place; None for the store's, else `raise`.
        read_last: How many of the newest messages reading gives, at most; None for the store's, else all.
        keep_system: Whether such a window has the conversation's first message too, where it is a system message;
            None for the store's, else not.
        max_stored_messages: How many messages are kept; adding trims the oldest in the same step. None for the
            store's, else all.
        delivery: `strict` to send every append with a marker, so that its request does nothing if it arrives late;
            None for the store's, else `standard`.
        start_on: Type of the first message that reading returns, after a kept system message: a name such as "human", a
            message class, or several, as langchain-core's `trim_messages` takes. Older messages are left out. None for
            the store's, else any.
        tool_calls: How reading returns tool calls and results: `stored`, as they are; `paired`, each call with its
            result, except calls at the end, whose tools may still be running; or `answered`, those too. None for the
            store's, else `paired` in windows, and `stored` in whole conversations and pages.
        max_tokens: How many tokens the messages that reading gives may have together, at most: the newest that fit.
            None for no such bound.
        token_counter: Counts them: whatever langchain-core's `trim_messages` takes, that is, a function of a list of
            messages or, annotated so, of one; a language model; or "approximate", which None stands for.
        store: A `Store` to share; its url and token are used, and its options where none are given here.
        on_write_error: A plain function called with the error when messages could not be added, before it is raised.
            The error is logged too, by the logger `chatstash`. For callers that swallow errors.

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
        refresh_ttl_on_read: bool | None = None,
        retry_policy: RetryPolicy | None = None,
        max_request_bytes: int | None = None,
        idempotency_ttl: int | None = None,
        on_corrupt: OnCorrupt | None = None,
        read_last: int | None = None,
        keep_system: bool | None = None,
        max_stored_messages: int | None = None,
        delivery: Delivery | None = None,
        start_on: StartOn | None = None,
        tool_calls: ToolCalls | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        store: Store | None = None,
        on_write_error: OnWriteError | None = None,
    ) -> None:
        # A traceback that shows arguments shows neither a token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        if store is not None:
            if not isinstance(store, Store):
                raise ValueError(f"store must be a Store, not a {type(store).__name__}")
            if url or token:
                raise ValueError("give either store= or url= and token=, not both: a store has its own")
            key_prefix = store.key_prefix if key_prefix is _PREFIX_NOT_GIVEN else key_prefix
        conversation_key(session_id, key_prefix)
        self.session_id = session_id
        self.key_prefix = key_prefix
        self.on_write_error = checked_hook(on_write_error)
        self._tokens = TokenLimit(max_tokens, token_counter)
        self._store = SharedStore(url, token) if store is None else store
        self._options = self._store.options.changed(
            {
                "ttl": ttl,
                "refresh_ttl_on_read": refresh_ttl_on_read,
                "retry_policy": retry_policy,
                "timeout": timeout,
                "retries": retries,
                "max_request_bytes": max_request_bytes,
                "idempotency_ttl": idempotency_ttl,
                "on_corrupt": on_corrupt,
                "read_last": read_last,
                "keep_system": keep_system,
                "max_stored_messages": max_stored_messages,
                "delivery": delivery,
                "start_on": types_of(start_on),
                "tool_calls": tool_calls,
            }
        )
        self.ttl = self._options.ttl
        self.refresh_ttl_on_read = self._options.refresh_ttl_on_read
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
        """The key the conversation is stored at.

        Raises:
            ValueError: `session_id` or `key_prefix` was set to what cannot be one.
        """
        return conversation_key(self.session_id, self.key_prefix)

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
            self._redis_client = Redis(url=endpoint.url, token=endpoint.token.get_secret_value())
        return self._redis_client

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages, oldest first: all, or those of the window. Costs and raises what `read` does."""
        conversation = self._conversation()
        return messages_of(conversation, conversation.read(self._selection(conversation)))

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages as `messages` does, without blocking the event loop."""
        conversation = self._conversation()
        return messages_of(conversation, await conversation.aread(self._selection(conversation)))

    @property
    def sync_token(self) -> str | None:
        """The token by which a read sees earlier writes, from any process; None before the first reply.

        Carry it to the process that continues this conversation, in a web session or a cookie, and set it there before
        the first read: https://upstash.com/docs/redis/howto/readyourwrites. It is sent with requests of this
        conversation only. None forgets it; a text that cannot be a header's value is a ValueError.
        """
        return self._session().sync_token

    @sync_token.setter
    def sync_token(self, token: str | None) -> None:
        self._session().sync_token = token

    def read(
        self,
        *,
        last: int | None = None,
        before: Cursor | str | None = None,
        limit: int | None = None,
        keep_system: bool | None = None,
        start_on: StartOn | None = None,
        tool_calls: ToolCalls | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
    ) -> MessagesResult:
        """Return messages, each once, with their records and what reading them cost: all, the newest, or a page.

        All: one request and one command, two with `max_stored_messages`. The newest, or a page: one request and
        three commands; a window with `keep_system`, four. One command more where the ttl is refreshed on reading, or
        two as with `add_messages`. More requests where the reply would be over the server's limit, where a message may
        have been stored twice (the duplicate is then removed), or where others trimmed or removed messages since the
        cursor was made.

        Args:
            last: How many of the newest messages, at most. None for `read_last`, else all.
            before: The `cursor` of a result, or its text: the messages before it.
            limit: How many of those, at most; None for 50.
            keep_system: Whether a window has the conversation's first message too, where it is a system message; None
                for the history's.
            start_on: Type of the first message returned, after a kept system message. Older messages are left out, and
                all of them if none has that type, as by `trim_messages`. None for the history's. Not for pages.
            tool_calls: How tool calls and results are returned: `stored`, `paired` or `answered`. None for the
                history's.
            max_tokens: How many tokens the messages may have together, the system message's included: the newest that
                fit, none where the newest alone does not. Where the first guess was too few, as many again are asked
                for until something does not fit, in a request of three commands each. None for the history's, where
                neither `last` nor `before` is given.
            token_counter: Counts them, as that of the history does; None for the history's. It runs in the caller's
                thread, also in an event loop.

        Raises:
            ValueError: The arguments contradict each other, or one cannot be right.
            UnreadableRecord: A record is no message, and `on_corrupt` is `raise`; has all messages that can be read.
            WrongType: The key holds something else; its value was not changed.
            ConversationChanged: Others changed it again and again while it was read in pages, or the cursor's place
                cannot be told.
            DatabaseError: Anything else that went wrong.
        """
        conversation = self._conversation()
        asked = Wanted(last, before, limit, keep_system, types_of(start_on), tool_calls)
        wanted = self._selection(conversation, asked, max_tokens, token_counter)
        return messages_result(conversation, conversation.read(wanted))

    async def aread(
        self,
        *,
        last: int | None = None,
        before: Cursor | str | None = None,
        limit: int | None = None,
        keep_system: bool | None = None,
        start_on: StartOn | None = None,
        tool_calls: ToolCalls | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
    ) -> MessagesResult:
        """Read as `read` does, without blocking the event loop."""
        conversation = self._conversation()
        asked = Wanted(last, before, limit, keep_system, types_of(start_on), tool_calls)
        wanted = self._selection(conversation, asked, max_tokens, token_counter)
        return messages_result(conversation, await conversation.aread(wanted))

    def count(self) -> int:
        """Count the messages without duplicates; one request, four commands, a few more where there may be some."""
        return self._conversation().count()

    async def acount(self) -> int:
        """Count as `count` does, without blocking the event loop."""
        return await self._conversation().acount()

    def records(self) -> list[Record]:
        """Return all records, oldest first, each with its time and id; one request."""
        return self._session().records()

    async def arecords(self) -> list[Record]:
        """Return all records as `records` does, without blocking the event loop."""
        return await self._session().arecords()

    def add_message(self, message: BaseMessage) -> None:
        """Add one message; as `add_messages` with one."""
        self.add_messages([message])

    def add_messages(self, messages: Sequence[BaseMessage], *, idempotency_key: str | None = None) -> None:
        """Add messages in their order, all or none, and once, whatever is lost on the way.

        One request and one command, or two commands with a ttl, three if this process neither read nor wrote the
        conversation within five minutes. With strict delivery or an idempotency key three, or four with a ttl; bounded
        storage is strict, and takes one more to trim. No request for an empty sequence. Over `max_request_bytes`, three
        commands and a request for each part, and one request more.

        Args:
            messages: The messages, oldest first.
            idempotency_key: A name for what is added, such as the id of an event that may be delivered twice. Within
                `idempotency_ttl` seconds, adding with it again, from any process, stores nothing.

        Raises:
            UnstorableMessage: One is no message or holds what JSON cannot; nothing was sent.
            RecordTooLarge: One alone is over the size of a request; nothing was sent.
            IdempotencyConflict: The idempotency key was used for other messages.
            WrongType: The key holds something else; its value was not changed.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out; ask `check_outcome` later.
            DatabaseError: Anything else that went wrong; its `applied` says whether the messages were stored.
        """
        with write_watched(self.key, self.on_write_error):
            self._session().append(to_records(messages), idempotency_key=idempotency_key)

    async def aadd_messages(self, messages: Sequence[BaseMessage], *, idempotency_key: str | None = None) -> None:
        """Add messages as `add_messages` does, without blocking the event loop."""
        with write_watched(self.key, self.on_write_error):
            await self._session().aappend(to_records(messages), idempotency_key=idempotency_key)

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add a message of the user, given as a message or its text; one request."""
        self.add_message(HumanMessage(content=message) if isinstance(message, str) else message)

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add a message of the AI, given as a message or its text; one request."""
        self.add_message(AIMessage(content=message) if isinstance(message, str) else message)

    def guarded_turn(self) -> MessagesTurn:
        """Return a guarded turn: read, and add on leaving only if nobody else changed the conversation meanwhile.

        For `with` and `async with`; see `MessagesTurn`. Reading costs what `read` costs. Adding takes one request and
        four commands, five with a ttl; one more with strict delivery.
        """
        conversation = self._conversation()
        return MessagesTurn(conversation, self.on_write_error, self._selection(conversation))

    def check_outcome(self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = LONGEST_IN_FLIGHT) -> Outcome:
        """Tell the outcome of a write whose reply was lost; one request, two commands or a few more.

        Args:
            lost: The error, or an idempotency key: that of an addition that was cancelled, say.
            in_flight_seconds: Seconds after the error during which the request may still arrive. For an idempotency
                key, returns STILL_POSSIBLE rather than NOT_STORED unless this is 0.

        Returns:
            `STORED`, `NOT_STORED` or `STILL_POSSIBLE`; see `Session.check_outcome`.

        Raises:
            ValueError: The error belongs to another conversation, the idempotency key is not a string, or
                `in_flight_seconds` is not a number of 0 or more.
            DatabaseError: It could not be asked.
        """
        return self._session().check_outcome(lost, in_flight_seconds=in_flight_seconds)

    async def acheck_outcome(
        self, lost: OutcomeUnknown | str, *, in_flight_seconds: float = LONGEST_IN_FLIGHT
    ) -> Outcome:
        """Tell the outcome of a write as `check_outcome` does, without blocking the event loop."""
        return await self._session().acheck_outcome(lost, in_flight_seconds=in_flight_seconds)

    def stored_for(self, idempotency_key: str) -> list[BaseMessage] | None:
        """Return the messages that were added with an idempotency key: the answer to an event delivered again.

        One request. Two commands where the key was not used; else four, and a few more where over a hundred messages
        were added since.

        Args:
            idempotency_key: The key that `add_messages` was given.

        Returns:
            The messages that are still stored, oldest first; None where the key was not used within `idempotency_ttl`.
            What cannot be read is left out.

        Raises:
            ValueError: The idempotency key is no text; nothing was sent.
            DatabaseError: It could not be asked.
        """
        return _readable(self.key, self._conversation().stored_for(idempotency_key))

    async def astored_for(self, idempotency_key: str) -> list[BaseMessage] | None:
        """Return messages as `stored_for` does, without blocking the event loop."""
        return _readable(self.key, await self._conversation().astored_for(idempotency_key))

    def clear(self) -> None:
        """Delete the conversation, once; one request. Raises as `Session.clear` does."""
        self._session().clear()

    async def aclear(self) -> None:
        """Delete the conversation as `clear` does, without blocking the event loop."""
        await self._session().aclear()

    def _session(self) -> Session:
        # Made anew each time, for the old class lets its users set session_id, key_prefix and ttl, or override key.
        options = self._options
        if self.ttl is not options.ttl or self.refresh_ttl_on_read is not options.refresh_ttl_on_read:
            options = replace(options, ttl=self.ttl, refresh_ttl_on_read=self.refresh_ttl_on_read)
        return self._store.session_at(self.key, options=options)

    def _conversation(self) -> Conversation:
        return self._session().conversation

    def _selection(
        self,
        conversation: Conversation,
        wanted: Wanted = Wanted(),  # noqa: B008 - a value
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
    ) -> Selection:
        selection = selection_of(wanted, conversation.options)
        is_default = wanted.last is None and wanted.before is None
        limit = self._tokens if is_default else TokenLimit(None, self._tokens.token_counter)
        return limit.changed(max_tokens, token_counter).selection(selection, conversation.options.on_corrupt)

    def __getstate__(self) -> dict[str, Any]:
        # The SDK's client holds the token.
        return {**vars(self), "_redis_client": None}


def _readable(key: str, records: Sequence[Record] | None) -> list[BaseMessage] | None:
    return None if records is None else readable_messages(records, key)
