"""The database of a saver or store: that of a `Store`, or the one that all of this process share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chatstash.rest.database import Database, shared_database
from chatstash.rest.endpoint import resolve_endpoint
from chatstash.rest.limits import RetryPolicy
from chatstash.rest.plan import DEFAULT_MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from chatstash.history import Store


class Connection(NamedTuple):
    """A database and how to use it. It can be pickled, without the token.

    Attributes:
        database: The database.
        retry_policy: How long requests may take, and how often they are retried.
        max_request_bytes: Maximum size of a request or reply, in bytes.
        store: The store it belongs to; None for the shared database.
    """

    database: Database
    retry_policy: RetryPolicy
    max_request_bytes: int
    store: Store | None

    def close(self) -> None:
        """Close the store; the shared database stays open, because others use it."""
        if self.store is not None:
            self.store.close()

    async def aclose(self) -> None:
        """Close as `close` does, with the connections of the running event loop."""
        if self.store is not None:
            await self.store.aclose()


def connection_of(url: str, token: str, store: Store | None) -> Connection:
    """Return the connection that a caller asks for.

    Raises:
        ValueError: There is no url or token, one is invalid, or a store is given as well.
    """
    if store is None:
        endpoint = resolve_endpoint(url, token)
        return Connection(shared_database(endpoint), RetryPolicy(), DEFAULT_MAX_REQUEST_BYTES, None)
    if url or token:
        raise ValueError("Pass either store= or url= and token=, not both")
    return Connection(store.database, store.options.retry_policy, store.options.max_request_bytes, store)
