"""One database and the defaults of its conversations."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self, TypeVar

from chatstash.errors import StoreClosed
from chatstash.history.keys import DEFAULT_PREFIX, checked_ttl, conversation_key
from chatstash.history.session import Session
from chatstash.rest.endpoint import Endpoint, checked_retries, checked_timeout
from chatstash.rest.ops import Op, RetryPolicy
from chatstash.rest.transport import Database, Limits, shared_database

T = TypeVar("T")

URL_VARIABLE = "UPSTASH_REDIS_REST_URL"
TOKEN_VARIABLE = "UPSTASH_REDIS_REST_TOKEN"  # noqa: S105 - a variable's name
DEFAULT_TIMEOUT = 30.0
DEFAULT_RETRIES = 3


class Store:
    """One Upstash database, its connections, and the defaults of its conversations. Makes no request by itself.

    Safe to share between threads, event loops and forked processes. Close it with `close` or `aclose`, or use it with
    `with` or `async with`.

    Args:
        url: The database's REST URL; empty for that of `UPSTASH_REDIS_REST_URL`.
        token: Its token; empty for that of `UPSTASH_REDIS_REST_TOKEN`.
        key_prefix: What the keys of its conversations begin with.
        ttl: Seconds until a conversation expires, 1 to 10^9, set anew at every append; None leaves expiries alone.
        timeout: Seconds that an operation may take in all, retries included. Connecting may take 5 of them.
        retries: How often a request that certainly was not applied is sent again.

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
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        if not isinstance(key_prefix, str):
            raise ValueError(f"key_prefix must be a string, not {key_prefix!r}")
        self.key_prefix = key_prefix
        self.ttl = checked_ttl(ttl)
        self.timeout = checked_timeout(timeout)
        self.retries = checked_retries(retries)
        self._limits = self.limits_with(None, None)
        self._closed = False
        self._database = self._database_of(_endpoint(url, token))

    @staticmethod
    def _database_of(endpoint: Endpoint) -> Database:
        return Database(endpoint)

    @property
    def url(self) -> str:
        """The database's REST URL."""
        return self._database.endpoint.url

    @property
    def endpoint(self) -> Endpoint:
        """The database's URL and token; shows no token when printed."""
        return self._database.endpoint

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self.url!r}, token='***', key_prefix={self.key_prefix!r}, ttl={self.ttl!r})"

    def limits_with(self, timeout: float | None, retries: int | None) -> Limits:
        """Return the store's limits, with another timeout (seconds) or number of retries where given.

        Raises:
            ValueError: One of them cannot be right.
        """
        return Limits(
            self.timeout if timeout is None else checked_timeout(timeout),
            RetryPolicy(retries=self.retries if retries is None else checked_retries(retries)),
        )

    def session(self, session_id: str, *, ttl: int | None = None, refresh_ttl_on_read: bool = False) -> Session:
        """Return the conversation of a session id. Makes no request.

        Args:
            session_id: Any non-empty string; the key is the store's prefix and this.
            ttl: Seconds until it expires; None for the store's.
            refresh_ttl_on_read: Whether reading sets the expiry anew too, in the same request.

        Raises:
            ValueError: The session id or the ttl cannot be one.
        """
        key = conversation_key(session_id, self.key_prefix)
        return Session(self, key, ttl=self.ttl if ttl is None else ttl, refresh_ttl_on_read=refresh_ttl_on_read)

    def run(self, key: str, op: Op[T], limits: Limits | None = None) -> T:
        """Run an operation on the conversation at `key`, within the store's limits or those given."""
        self._check_open()
        return self._database.run(op, self._database.sync_tokens.of(key), limits or self._limits)

    async def arun(self, key: str, op: Op[T], limits: Limits | None = None) -> T:
        """Run an operation as `run` does, without blocking the event loop."""
        self._check_open()
        return await self._database.arun(op, self._database.sync_tokens.of(key), limits or self._limits)

    def close(self) -> None:
        """Close the store and its connections for blocking callers. Closing twice does no harm."""
        self._closed = True
        self._database.close()

    async def aclose(self) -> None:
        """Close the store and its connections, those of the running event loop included."""
        self._closed = True
        await self._database.aclose()

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

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("The store is closed. Nothing was sent. Use a new Store, or close it later.")


class SharedStore(Store):
    """A store on the connections that all histories of this process share for a database; never closed."""

    @staticmethod
    def _database_of(endpoint: Endpoint) -> Database:
        return shared_database(endpoint)


def _endpoint(url: str, token: str) -> Endpoint:
    found = {
        URL_VARIABLE: url if url != "" else os.environ.get(URL_VARIABLE, ""),
        TOKEN_VARIABLE: token if token != "" else os.environ.get(TOKEN_VARIABLE, ""),
    }
    missing = [name for name, value in found.items() if value == ""]
    if missing:
        raise ValueError(
            f"there is no database to talk to: {' and '.join(missing)} missing. Give url= and token=, or set "
            f"{URL_VARIABLE} and {TOKEN_VARIABLE}. For a local one: pip install 'chatstash[local]', then "
            "run your command with: chatstash dev -- COMMAND"
        )
    return Endpoint(found[URL_VARIABLE], found[TOKEN_VARIABLE])
