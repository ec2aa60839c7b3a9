"""`UpstashRedisStore`: keeps what agents remember across threads in Upstash Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from chatstash.closing import Closing
from chatstash.errors import UnstorableValue
from chatstash.langgraph.connection import connection_of
from chatstash.langgraph.matching import checked_filter, common_prefix, matches, selection
from chatstash.namespaces.batch import Get, ListNamespaces, Put, Read, Search, run_batch
from chatstash.namespaces.items import StoredItem, dumped
from chatstash.namespaces.layout import Namespaces, labels_of, namespace_of
from chatstash.rest import ops as rest_ops
from chatstash.rest.plan import checked_prefix
from chatstash.rest.secret import as_secret

if TYPE_CHECKING:
    from chatstash.history import Store

DEFAULT_PREFIX = "store:"


class UpstashRedisStore(BaseStore, Closing):
    """Keeps items in namespaces in an Upstash Redis database, for graphs and agents.

    Makes no request when constructed. Safe to share between threads, event loops and forked processes. A batch is one
    request. Items are found by namespace and filter; there is no semantic search.

    A get takes one command, a put three (six with a ttl), a deletion three or five, a search three, and one for each
    further namespace, a listing three, and one for each namespace. Reading an item that has a ttl takes one more
    request and two commands, to restart the ttl, unless `refresh_ttl` or `refresh_on_read` is False.

    Args:
        url: The database's REST URL; empty for `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: Prefix of all keys; the namespace follows.
        ttl: LangGraph's configuration: `default_ttl` in minutes, `refresh_on_read`. Items expire by
            themselves, so nothing is swept.
        store: A store whose database, retry policy and request size are used; url and token must then be empty.

    Raises:
        ValueError: An argument is invalid, or there is no url or token.
    """

    supports_ttl = True

    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        key_prefix: str = DEFAULT_PREFIX,
        ttl: TTLConfig | None = None,
        store: Store | None = None,
    ) -> None:
        # Tracebacks that show arguments show neither the token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        checked_prefix(key_prefix)
        if ttl is not None:
            _milliseconds(ttl.get("default_ttl"))
        self.ttl_config = ttl
        self._connection = connection_of(url, token, store)
        self._namespaces = Namespaces(key_prefix, self._connection.max_request_bytes)

    @classmethod
    def from_env(cls, *, key_prefix: str = DEFAULT_PREFIX, ttl: TTLConfig | None = None) -> Self:
        """Return a store for the database that the environment names; the arguments are those of the class.

        Raises:
            ValueError: An argument is invalid, or a variable is missing.
        """
        return cls(key_prefix=key_prefix, ttl=ttl)

    def __repr__(self) -> str:
        url = self._connection.database.endpoint.url
        return f"{type(self).__name__}({url!r}, token='***', key_prefix={self._namespaces.prefix!r})"

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations in one request; reads see the state before the writes.

        Args:
            ops: The operations. Of several puts of one item the last counts.

        Returns:
            The result of each, in order.

        Raises:
            ValueError: An operation is invalid; nothing was sent.
            NotImplementedError: A search has a `query`; nothing was sent.
            UnstorableValue: JSON cannot hold a value, or it is too large; nothing was sent.
            UnreadableItem: An item is damaged, or a newer version of chatstash wrote it.
            ReadOnlyToken: The token may not write; nothing was changed.
            DatabaseError: Any other failure. Running the batch again is safe.
        """
        plan = _Plan(self._namespaces, list(ops))
        budget = self._connection.retry_policy.idempotent
        return plan.results(self._connection.database.run("store_batch", plan.op(), self._namespaces.prefix, budget))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations as `batch` does, without blocking the event loop."""
        plan = _Plan(self._namespaces, list(ops))
        budget = self._connection.retry_policy.idempotent
        found = await self._connection.database.arun("store_batch", plan.op(), self._namespaces.prefix, budget)
        return plan.results(found)

    def close(self) -> None:
        """Close the store that this was given; connections that others share stay open."""
        self._connection.close()

    async def aclose(self) -> None:
        """Close as `close` does, with the connections of the running event loop."""
        await self._connection.aclose()


class _Plan:
    """A checked batch."""

    def __init__(self, namespaces: Namespaces, ops: list[Op]) -> None:
        self._namespaces = namespaces
        self._ops = ops
        now = time.time_ns() // 1000
        self._reads = [_read(op) for op in ops if not isinstance(op, PutOp)]
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        # One microsecond later each, so that items keep the order in which they were put.
        self._puts = [_put(op, now + at, namespaces.max_request_bytes) for at, op in enumerate(puts.values())]
        for entry in (*self._reads, *self._puts):
            namespaces.hash_of(entry.prefix if isinstance(entry, (Search, ListNamespaces)) else entry.namespace)

    def op(self) -> rest_ops.Op[Any]:
        """Return the operation."""
        return run_batch(self._namespaces, self._reads, self._puts)

    def results(self, found: list[Any]) -> list[Result]:
        """Return the result of each operation, given those of the reads."""
        results = iter(found)
        return [None if isinstance(op, PutOp) else _result(op, next(results)) for op in self._ops]


def _read(op: Op) -> Read:
    validate_op_namespace(op)
    match op:
        case GetOp():
            return Get(namespace_of(op.namespace), _checked_item_key(op.key), op.refresh_ttl)
        case SearchOp():
            if op.query:
                raise NotImplementedError(
                    "UpstashRedisStore has no semantic search: search by namespace and filter, or keep the vectors in "
                    "a vector database. Nothing was sent."
                )
            wanted = checked_filter(op.filter)
            limit, offset = _whole("limit", op.limit), _whole("offset", op.offset)
            prefix = namespace_of(op.namespace_prefix)
            return Search(prefix, lambda item: matches(item.value, wanted), limit, offset, op.refresh_ttl)
        case ListNamespacesOp():
            conditions = tuple(op.match_conditions or ())
            limit, offset = _whole("limit", op.limit), _whole("offset", op.offset)
            return ListNamespaces(common_prefix(conditions), selection(conditions, op.max_depth), limit, offset)
    raise ValueError(f"Unknown operation {op!r:.80}")


def _put(op: PutOp, now: int, most: int) -> Put:
    validate_op_namespace(op)
    key, ttl = _checked_item_key(op.key), _milliseconds(op.ttl)
    namespace = namespace_of(op.namespace)
    if op.value is None:
        return Put(namespace, key, None, now, ttl)
    text = dumped(op.value, now, ttl, key=key)
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UnstorableValue(key, "it contains half a surrogate pair, which UTF-8 cannot encode") from error
    if size > most // 2:
        raise UnstorableValue(key, f"it has {size} bytes; the limit is {most // 2}, half of max_request_bytes")
    return Put(namespace, key, text, now, ttl)


def _checked_item_key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"an item's key must be a string, not {key!r:.80}")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the item's key contains half a surrogate pair: {key[:80]!r}") from None
    return key


def _whole(name: str, number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, not {number!r}")
    return number


def _milliseconds(minutes: float | None) -> int | None:
    """Return a ttl, which LangGraph gives in minutes, in milliseconds."""
    if minutes is None:
        return None
    if not isinstance(minutes, (int, float)) or isinstance(minutes, bool) or not 0 < minutes < 10**8:
        raise ValueError(f"a ttl must be a positive number of minutes, not {minutes!r}")
    return max(1, round(minutes * 60_000))


def _result(op: Op, found: Any) -> Result:
    if isinstance(op, ListNamespacesOp):
        return [labels_of(name) for name in found]
    if isinstance(op, SearchOp):
        return [SearchItem(score=None, **_fields(item)) for item in found]
    return None if found is None else Item(**_fields(found))


def _fields(item: StoredItem) -> dict[str, Any]:
    return {
        "namespace": labels_of(item.namespace),
        "key": item.key,
        "value": item.value,
        "created_at": _moment(item.created_at),
        "updated_at": _moment(item.updated_at),
    }


def _moment(microseconds: int) -> datetime:
    # Whole seconds and microseconds apart: a float has not enough digits.
    return datetime.fromtimestamp(microseconds // 10**6, UTC).replace(microsecond=microseconds % 10**6)
