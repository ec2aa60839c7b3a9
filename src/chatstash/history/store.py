"""One database and the defaults of its conversations."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, Unpack

from chatstash.history.cache.cache import CacheStats, ReadCache
from chatstash.history.conversation import Conversation
from chatstash.history.options import (
    DEFAULT_IDEMPOTENCY_TTL,
    DEFAULT_MAX_REQUEST_BYTES,
    Delivery,
    OnCorrupt,
    OptionChanges,
    Options,
)
from chatstash.history.records.keys import DEFAULT_PREFIX, conversation_key
from chatstash.history.session import Session
from chatstash.history.tool_calls.shape import ToolCalls
from chatstash.rest.database import Database, shared_database
from chatstash.rest.endpoint import Endpoint, resolve_endpoint
from chatstash.rest.limits import DEFAULT_MAX_CONNECTIONS, RetryPolicy
from chatstash.rest.metrics import OnOperation, StoreStats
from chatstash.rest.secret import as_secret


class Store:
    """One Upstash database, its connections, and the defaults of its conversations. Makes no request by itself.

    Safe to share between threads, event loops and forked processes. Close it with `close` or `aclose`, or use it with
    `with` or `async with`.

    Args:
        url: The database's REST URL; empty for that of `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for that of `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: What the keys of its conversations begin with.
        ttl: Seconds until a conversation expires, 1 to 10^9, set anew at every append; None leaves expiries alone.
        timeout: Seconds that an operation may take in all, retries included; None for what the retry policy says, else
            30. Connecting may take 5 of it.
        retries: How many retries there are at most; 0 means one attempt. None for what the retry policy says, else as
            many as fit into 80 % of `timeout`. An append that may have been applied is settled, not sent again as it
            was.
        refresh_ttl_on_read: Whether reading sets the expiry anew too, in the same request.
        retry_policy: A budget for each class of operation; `timeout` and `retries` go before it.
        max_request_bytes: What a request or reply may have, in bytes: larger appends are staged, larger reads paged.
        idempotency_ttl: Seconds for which an idempotency key is remembered.
        on_corrupt: What reading does with a record that cannot be read: `raise` an error that has all the others,
            `skip` it, or put a `placeholder` in its place.
        read_last: How many of the newest messages reading gives, at most; None for all.
        keep_system: Whether such a window has the conversation's first message too, where it is a system message.
        max_stored_messages: How many messages are kept; appending trims the oldest in the same step. None for all.
        delivery: `standard`, or `strict` to send every append with a marker, so that its request does nothing if it
            arrives late, for two commands more: see `docs/reliability.md`.
        start_on: Type of the first message that reading returns, after a kept system message, such as `human`, or
            several types; empty for any.
        tool_calls: How reading returns tool calls and results: `stored`, as they are; `paired`, each call with its
            result, except calls at the end, whose tools may still be running; or `answered`, those too. None for
            `paired` in windows, and `stored` in whole conversations and pages.
        cache_bytes: How many bytes of this process's memory may hold what was read, so that reading a conversation
            again asks only for what is new; None for no cache. What it cannot see is said in `docs/cache.md`.
        max_connections: How many connections an event loop may have open at the same time; requests beyond that wait
            for one. Threads have one each, as many as there are.
        on_operation: A plain function called with an `Operation` after each operation, by the thread or task that made
            it, which it should not hold up. An error it raises is logged. A store that was pickled comes back without.

    Raises:
        ValueError: An argument cannot be right, or url or token is missing altogether.
    """

    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        key_prefix: str = DEFAULT_PREFIX,
        ttl: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        refresh_ttl_on_read: bool = False,
        retry_policy: RetryPolicy | None = None,
        max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES,
        idempotency_ttl: int = DEFAULT_IDEMPOTENCY_TTL,
        on_corrupt: OnCorrupt = "raise",
        read_last: int | None = None,
        keep_system: bool = False,
        max_stored_messages: int | None = None,
        delivery: Delivery = "standard",
        start_on: str | Sequence[str] = (),
        tool_calls: ToolCalls | None = None,
        cache_bytes: int | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        on_operation: OnOperation | None = None,
    ) -> None:
        # A traceback that shows arguments shows neither a token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        if not isinstance(key_prefix, str):
            raise ValueError(f"key_prefix must be a string, not {key_prefix!r}")
        self.key_prefix = key_prefix
        policy = RetryPolicy() if retry_policy is None else retry_policy
        options = Options(
            ttl=ttl,
            refresh_ttl_on_read=refresh_ttl_on_read,
            retry_policy=policy,
            max_request_bytes=max_request_bytes,
            idempotency_ttl=idempotency_ttl,
            on_corrupt=on_corrupt,
            read_last=read_last,
            keep_system=keep_system,
            max_stored_messages=max_stored_messages,
            delivery=delivery,
            start_on=start_on,
            tool_calls=tool_calls,
        )
        self.options = options.changed({"timeout": timeout, "retries": retries})
        self._cache = None if cache_bytes is None else ReadCache(cache_bytes)
        self._database = self._database_of(resolve_endpoint(url, token), on_operation, max_connections)

    @staticmethod
    def _database_of(endpoint: Endpoint, on_operation: OnOperation | None, max_connections: int) -> Database:
        return Database(endpoint, on_operation=on_operation, max_connections=max_connections)

    @property
    def ttl(self) -> int | None:
        """Seconds until a conversation expires, set anew at every append; None leaves expiries alone."""
        return self.options.ttl

    @property
    def url(self) -> str:
        """The database's REST URL."""
        return self._database.endpoint.url

    @property
    def endpoint(self) -> Endpoint:
        """The database's URL and token; shows no token when printed."""
        return self._database.endpoint

    def __repr__(self) -> str:
        # vars, for a traceback may show the locals of a constructor that is not done.
        known = vars(self)
        return (
            f"{type(self).__name__}({known.get('_database')!r}, token='***', key_prefix={known.get('key_prefix')!r}, "
            f"ttl={getattr(known.get('options'), 'ttl', None)!r})"
        )

    def session(self, session_id: str, **changes: Unpack[OptionChanges]) -> Session:
        """Return the conversation of a session id. Makes no request.

        Args:
            session_id: Any non-empty string; the key is the store's prefix and this.
            changes: Options of this conversation that depart from the store's: `ttl`, `refresh_ttl_on_read`,
                `retry_policy`, `timeout`, `retries`, `max_request_bytes`, `idempotency_ttl`, `on_corrupt`,
                `read_last`, `keep_system`, `max_stored_messages`, `delivery`, `start_on`, `tool_calls`; None
                keeps the store's.

        Raises:
            ValueError: The session id or an option cannot be right.
            TypeError: There is no such option.
        """
        return self.session_at(conversation_key(session_id, self.key_prefix), **changes)

    def session_at(self, key: str, *, options: Options | None = None, **changes: Unpack[OptionChanges]) -> Session:
        """Return the conversation at a whole key, whatever the store's prefix. Makes no request.

        Args:
            key: The key.
            options: All its options; None for the store's.
            changes: As for `session`.

        Raises:
            ValueError: The key or an option cannot be right.
            TypeError: There is no such option.
        """
        return Session(Conversation(self._database, key, (options or self.options).changed(changes), self._cache))

    def stats(self) -> StoreStats:
        """Return the totals of this store's operations in this process. Makes no request.

        A process that was forked, or a store that was pickled, begins at 0.
        """
        return self._database.stats()

    def cache_stats(self) -> CacheStats:
        """Return what the cache holds and what it was good for; all 0 where there is none. Makes no request."""
        return CacheStats() if self._cache is None else self._cache.stats()

    def close(self) -> None:
        """Close the store and its connections for blocking callers. Closing twice does no harm."""
        self._database.close()
        self._empty_cache()

    async def aclose(self) -> None:
        """Close the store and its connections, those of the running event loop included."""
        await self._database.aclose()
        self._empty_cache()

    def _empty_cache(self) -> None:
        if self._cache is not None:
            self._cache.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class SharedStore(Store):
    """A store on the connections that all histories of this process share for a database; never closed."""

    @staticmethod
    def _database_of(endpoint: Endpoint, on_operation: OnOperation | None, max_connections: int) -> Database:
        if on_operation is not None or max_connections != DEFAULT_MAX_CONNECTIONS:
            raise ValueError("on_operation and max_connections need a Store of your own: all others share one")
        return shared_database(endpoint)

    def close(self) -> None:
        """Leave the connections open: others use them."""

    async def aclose(self) -> None:
        """Leave the connections open: others use them."""


def stats(url: str = "", token: str = "") -> StoreStats:
    """Return the totals of histories without a store of their own, in this process.

    Makes no request. A history with a `store` counts in that store's `stats` alone.

    Args:
        url: The database's REST URL; empty for that of `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for that of `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.

    Raises:
        ValueError: An argument cannot be right, or url or token is missing altogether.
    """
    url, token = as_secret(url), as_secret(token)
    return shared_database(resolve_endpoint(url, token)).stats()
