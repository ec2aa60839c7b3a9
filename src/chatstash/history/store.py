"""One database and the defaults of its conversations."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from chatstash.history.keys import DEFAULT_PREFIX, checked_ttl, conversation_key
from chatstash.history.session import Session
from chatstash.rest.database import Database, shared_database
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.limits import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Limits,
    RetryPolicy,
    checked_retries,
    checked_timeout,
)

URL_VARIABLE = "UPSTASH_REDIS_REST_URL"
TOKEN_VARIABLE = "UPSTASH_REDIS_REST_TOKEN"  # noqa: S105 - a variable's name


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
        # vars, for a traceback may show the locals of a constructor that is not done.
        known = vars(self)
        return (
            f"{type(self).__name__}({known.get('_database')!r}, token='***', key_prefix={known.get('key_prefix')!r}, "
            f"ttl={known.get('ttl')!r})"
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
        return self.session_at(key, ttl=self.ttl if ttl is None else ttl, refresh_ttl_on_read=refresh_ttl_on_read)

    def session_at(
        self,
        key: str,
        *,
        ttl: int | None = None,
        refresh_ttl_on_read: bool = False,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> Session:
        """Return the conversation at a whole key, whatever the store's prefix and ttl. Makes no request.

        Args:
            key: The key.
            ttl: Seconds until it expires; None leaves its expiry alone.
            refresh_ttl_on_read: Whether reading sets the expiry anew too, in the same request.
            timeout: Seconds that an operation may take in all; None for the store's.
            retries: How often a request is sent again; None for the store's.

        Raises:
            ValueError: An argument cannot be right.
        """
        limits = Limits(
            self.timeout if timeout is None else checked_timeout(timeout),
            RetryPolicy(retries=self.retries if retries is None else checked_retries(retries)),
        )
        return Session(self._database, key, ttl=ttl, refresh_ttl_on_read=refresh_ttl_on_read, limits=limits)

    def close(self) -> None:
        """Close the store and its connections for blocking callers. Closing twice does no harm."""
        self._database.close()

    async def aclose(self) -> None:
        """Close the store and its connections, those of the running event loop included."""
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
