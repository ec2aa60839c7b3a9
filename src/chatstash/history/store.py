"""One database and the default options of its conversations."""

from __future__ import annotations

from typing import NamedTuple, TypeVar, Unpack

from chatstash.closing import Closing
from chatstash.history.cache.cache import CacheStats, ReadCache
from chatstash.history.codec import Codec, RecordCodec
from chatstash.history.maintenance.maintenance import Maintenance
from chatstash.history.records.index import index_keys
from chatstash.history.records.keys import DEFAULT_PREFIX, Owned, checked_key, conversation_key, owned
from chatstash.history.records.record import Record
from chatstash.history.runner import Address, Work, arun_work, recent_of, run_work
from chatstash.history.session import Session
from chatstash.history.steps.indexing import IndexEntry
from chatstash.history.steps.recent import Recent
from chatstash.history.values.options import ConversationOptions, Options, check_keywords, keywords_of, shows_keywords
from chatstash.rest.database import Database, shared_database
from chatstash.rest.endpoint import Endpoint, resolve_endpoint
from chatstash.rest.limits import DEFAULT_MAX_CONNECTIONS
from chatstash.rest.metrics import OnOperation, StoreStats
from chatstash.rest.secret import as_secret

ItemT = TypeVar("ItemT")
T = TypeVar("T")


class IndexOptions(NamedTuple):
    """Which sessions of a store are on an index.

    Attributes:
        has_all: Whether those are that belong to no user.
        has_titles: Whether the first question becomes the title.
    """

    has_all: bool
    has_titles: bool


class Store(Maintenance, Closing):
    """One Upstash database, its connections, and the default options of its conversations.

    Makes no request when constructed. Safe to share between threads, event loops and forked processes. Close it with
    `close` or `aclose`, or use it with `with` or `async with`.

    Args:
        url: The database's REST URL; empty for `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: Prefix of the conversations' keys; the session id follows.
        index: Whether the store keeps an index of its sessions, for `list_sessions`. Sessions with a `user_id` are on
            their user's index in any case. Costs commands of each append, but no request: see `docs/sessions.md`.
        titles: Whether the index stores the beginning of the first question, as the title of a session that has none.
        cache_bytes: Maximum memory of this process for cached conversations, in bytes. Reading a conversation again
            then fetches only newer records. None for no cache. `docs/cache.md` says which changes it cannot see.
        max_connections: How many connections an event loop may have open at the same time; further requests wait.
            Each thread has one connection, however many threads there are.
        on_operation: A plain function called with an `Operation` after each operation, by the thread or task that ran
            it. It should return quickly. An error it raises is logged. A pickled store comes back without it.
        options: The default options of the store's conversations, each documented at `Options`.

    Raises:
        ValueError: An argument is invalid, or there is no url or token.
        TypeError: An option does not exist.
    """

    @shows_keywords(ConversationOptions)
    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        key_prefix: str = DEFAULT_PREFIX,
        index: bool = False,
        titles: bool = True,
        cache_bytes: int | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        on_operation: OnOperation | None = None,
        **options: Unpack[ConversationOptions],
    ) -> None:
        # Tracebacks that show arguments show neither the token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        if not isinstance(key_prefix, str):
            raise ValueError(f"key_prefix must be a string, not {key_prefix!r}")
        checked_key(key_prefix + "-")
        check_keywords(options, keywords_of(Store.__init__), "Store")
        for name, value in (("index", index), ("titles", titles)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, not {value!r}")
        self.key_prefix = key_prefix
        self._indexing = IndexOptions(index, titles)
        self.options = Options().changed(options)
        self._cache = None if cache_bytes is None else ReadCache(cache_bytes)
        self._database = self._database_of(resolve_endpoint(url, token), on_operation, max_connections)

    @classmethod
    def shared(cls, url: str = "", token: str = "") -> Store:
        """Return the store of all histories of this process that have no store of their own. Closing it does nothing.

        Args:
            url: As for `Store`.
            token: As for `Store`.

        Raises:
            ValueError: An argument is invalid, or there is no url or token.
        """
        return _SharedStore(url, token)

    @staticmethod
    def _database_of(endpoint: Endpoint, on_operation: OnOperation | None, max_connections: int) -> Database:
        return Database(endpoint, on_operation=on_operation, max_connections=max_connections)

    @property
    def url(self) -> str:
        """The database's REST URL."""
        return self._database.endpoint.url

    @property
    def database(self) -> Database:
        """The database, for adapters that store more than conversations in it."""
        return self._database

    @property
    def endpoint(self) -> Endpoint:
        """The database's URL and token; shows no token when printed."""
        return self._database.endpoint

    def __repr__(self) -> str:
        # vars: a traceback may show the locals of an unfinished constructor.
        known = vars(self)
        return (
            f"{type(self).__name__}({known.get('_database')!r}, token='***', key_prefix={known.get('key_prefix')!r}, "
            f"ttl={getattr(known.get('options'), 'ttl', None)!r})"
        )

    @shows_keywords(ConversationOptions)
    def session(
        self, session_id: str, *, user_id: str | None = None, **options: Unpack[ConversationOptions]
    ) -> Session[Record]:
        """Return the conversation of a session id. Makes no request.

        Args:
            session_id: Any non-empty string; the key is the store's prefix followed by it.
            user_id: The user it belongs to: any non-empty string, which becomes part of the key. Sessions of different
                users may have the same session id. None for a session of no user.
            options: Options that differ from the store's; None keeps the store's.

        Raises:
            ValueError: The session id, the user id or an option is invalid, or the ttl is above the store's and the
                session is on an index.
            TypeError: An option does not exist.
        """
        key = conversation_key(session_id, self.key_prefix, user_id)
        return self.open_session(RecordCodec(), key, self.options.changed(options))

    @shows_keywords(ConversationOptions)
    def session_with(
        self,
        codec: Codec[ItemT],
        session_id: str,
        *,
        user_id: str | None = None,
        **options: Unpack[ConversationOptions],
    ) -> Session[ItemT]:
        """Return the conversation of a session id, whose items the codec converts; otherwise as `session`."""
        key = conversation_key(session_id, self.key_prefix, user_id)
        return self.open_session(codec, key, self.options.changed(options))

    @shows_keywords(ConversationOptions)
    def session_at(self, key: str, **options: Unpack[ConversationOptions]) -> Session[Record]:
        """Return the conversation at a whole key, whatever the store's prefix; otherwise as `session`."""
        return self.open_session(RecordCodec(), key, self.options.changed(options))

    def open_session(
        self, codec: Codec[ItemT], key: str, options: Options, *, key_prefix: str | None = None
    ) -> Session[ItemT]:
        """Return the conversation at a whole key with all its options: for adapters that keep them.

        Args:
            codec: Converts its items.
            key: The key.
            options: The options.
            key_prefix: What the key begins with, before the user and the session id; None for the store's prefix.

        Raises:
            ValueError: The key is invalid, codec or options are of the wrong type, or the ttl is above the store's and
                the session is on an index.
        """
        if not isinstance(codec, Codec) or not isinstance(options, Options):
            raise ValueError(f"open_session takes a Codec and Options, not {codec!r:.80} and {options!r:.80}")
        named = owned(checked_key(key), self.key_prefix if key_prefix is None else key_prefix)
        address = Address(key, named, self._entry(named, options))
        return Session(self._database, address, options, codec, self._cache)

    def _entry(self, named: Owned | None, options: Options) -> IndexEntry | None:
        """Return a conversation's place on the session index, or None."""
        if named is None or not self.indexes(named):
            return None
        if self.options.ttl is not None and options.ttl is not None and options.ttl > self.options.ttl:
            raise ValueError(
                f"ttl={options.ttl} is above the store's, {self.options.ttl}: the session index expires with the "
                "store's ttl, and would forget the session before it expires. Give the Store the longest ttl"
            )
        recent = self._recent.sessions
        keys, ttl = index_keys(named.owner), self.options.ttl
        return IndexEntry(keys, named.session_id, ttl, self.has_titles, recent)

    def indexes(self, named: Owned) -> bool:
        """Tell whether a conversation of this store is on a session index."""
        return named.user_id is not None or self._indexing.has_all

    @property
    def has_titles(self) -> bool:
        """Whether the session index stores the beginning of the first question."""
        return self._indexing.has_titles

    @property
    def _recent(self) -> Recent:
        return recent_of(self._database)

    def run(self, work: Work[T]) -> T:
        """Run an operation that adapters or `Sessions` made."""
        return run_work(self._database, work)

    async def arun(self, work: Work[T]) -> T:
        """Run an operation as `run` does, without blocking the event loop."""
        return await arun_work(self._database, work)

    def stats(self) -> StoreStats:
        """Return the totals of this store's operations in this process. Makes no request.

        A forked process or a pickled store starts at 0.
        """
        return self._database.stats()

    def cache_stats(self) -> CacheStats:
        """Return the size of the cache, its hits and misses; all 0 without a cache. Makes no request."""
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


class _SharedStore(Store):
    """A store on the connections that all histories of this process share for a database."""

    @staticmethod
    def _database_of(endpoint: Endpoint, on_operation: OnOperation | None, max_connections: int) -> Database:  # noqa: ARG004
        return shared_database(endpoint)

    def close(self) -> None:
        """Leave the connections open: others use them."""

    async def aclose(self) -> None:
        """Leave the connections open: others use them."""
