"""One database: runs operations against it, by a sync and an async driver, each one short loop over its pool.

Nothing is opened before the first request. A `Database` may be shared by threads, event loops and, after a fork,
parent and child.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeVar

from chatstash.errors import (
    CommandRejected,
    DatabaseError,
    FormRefused,
    InsecureConnectionWarning,
    RequestTooLarge,
    StoreClosed,
    WrongType,
)
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.deadline import Deadline
from chatstash.rest.endpoint import URL_VARIABLE, Endpoint, resolve_endpoint
from chatstash.rest.failures import timed_out
from chatstash.rest.http.messages import HttpReply, HttpRequest
from chatstash.rest.instrumentation import Instrumentation, OperationTracker
from chatstash.rest.limits import DEFAULT_MAX_CONNECTIONS, Budget, checked_max_connections
from chatstash.rest.metrics import OnOperation, StoreStats
from chatstash.rest.ops import Attempt, Op, Pause, retrying
from chatstash.rest.protocol import Forms, replies_from, request_for, sync_token_of
from chatstash.rest.sync_token import SyncToken, SyncTokens, Ticket

if TYPE_CHECKING:
    from chatstash.rest.http.asyncio_pool import AsyncPool

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Run:
    """One operation under way."""

    deadline: Deadline
    sync_token: SyncToken
    tracker: OperationTracker


@dataclass(slots=True, eq=False)
class _Call:
    """One request under way."""

    batch: Batch
    request: HttpRequest
    ticket: Ticket
    run: _Run


class Database:
    """One Upstash database: runs operations on it. Makes no request by itself.

    Args:
        endpoint: Where it is, and its token.
        shared: Whether it is the one of `shared_database`.
        on_operation: Called after each operation.
        max_connections: How many connections an event loop may have open at the same time.

    Raises:
        ValueError: `on_operation` is no plain function, or `max_connections` no such number.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        shared: bool = False,
        on_operation: OnOperation | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
    ) -> None:
        self.endpoint = endpoint
        self._max_connections = checked_max_connections(max_connections)
        self._instrumentation = Instrumentation(endpoint, on_operation)
        self._shared = shared
        self._sync_tokens = SyncTokens()
        from chatstash.rest.http.pool import Pool  # noqa: PLC0415 - sockets are loaded where they are used

        self._pool = Pool(endpoint, max_connections)
        self._async_pool: AsyncPool | None = None
        self._forms = Forms()
        self._closed = False
        if endpoint.is_insecure:
            _warn_of_plain_http(endpoint)

    def __repr__(self) -> str:
        return f"Database({self.endpoint.url!r})"

    def run(self, name: str, op: Op[T], key: str, budget: Budget) -> T:
        """Run an operation and return what it returns.

        Args:
            name: What it is called by those who count.
            op: The operation.
            key: The key of the conversation it is on; empty where it is on several.
            budget: How long it may take, and how often its requests are sent again.
        """
        with self._instrumentation.track(name, key) as tracker:
            run = _Run(Deadline(budget.timeout), self._sync_tokens.of(key), tracker)
            driven = retrying(op, budget)
            resume: Callable[[], Attempt | Pause] = partial(next, driven)
            while True:
                try:
                    wanted = resume()
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                try:
                    resume = partial(driven.send, self._do(wanted, run))
                except (DatabaseError, StoreClosed) as error:
                    resume = partial(driven.throw, error)

    async def arun(self, name: str, op: Op[T], key: str, budget: Budget) -> T:
        """Run an operation as `run` does, without blocking the event loop."""
        with self._instrumentation.track(name, key) as tracker:
            run = _Run(Deadline(budget.timeout), self._sync_tokens.of(key), tracker)
            driven = retrying(op, budget)
            resume: Callable[[], Attempt | Pause] = partial(next, driven)
            while True:
                try:
                    wanted = resume()
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                try:
                    resume = partial(driven.send, await self._ado(wanted, run))
                except (DatabaseError, StoreClosed) as error:
                    resume = partial(driven.throw, error)

    def stats(self) -> StoreStats:
        """Return what all operations of this process came to so far."""
        return self._instrumentation.stats()

    def sync_token_of(self, key: str) -> str | None:
        """Return the sync token of the conversation at `key`; None where nothing was asked of it yet."""
        return self._sync_tokens.of(key).value

    def set_sync_token(self, key: str, token: str | None) -> None:
        """Set the sync token of the conversation at `key`, or forget it; a ValueError where it can be none."""
        self._sync_tokens.of(key).value = token

    def __reduce__(self) -> tuple[Callable[..., Database], tuple[str, bool, int]]:
        # Credentials are not pickled: the token comes from the environment of whoever unpickles.
        return _unpickled, (self.endpoint.url, self._shared, self._max_connections)

    def __copy__(self) -> Database:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Database:
        # A copy of a history in the same process goes on with the same connections.
        return self

    def close(self) -> None:
        """Close the idle connections; whoever uses the database from now on gets `StoreClosed`."""
        self._closed = True
        self._pool.close()

    async def aclose(self) -> None:
        """Close as `close` does, and end what is under way in the running event loop."""
        self.close()
        if self._async_pool is not None:
            await self._async_pool.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("The store is closed. Nothing was sent. Use a new Store, or close it later.")

    def _do(self, wanted: Attempt | Pause, run: _Run) -> Replies | bool:
        if isinstance(wanted, Pause):
            if fits := run.deadline.allows_retry(wanted.seconds):
                run.tracker.retrying()
                time.sleep(wanted.seconds)
            return fits
        call = self._begin(wanted, run)
        return self._end(call, self._pool.exchange(call.request, run.deadline))

    async def _ado(self, wanted: Attempt | Pause, run: _Run) -> Replies | bool:
        if isinstance(wanted, Pause):
            if fits := run.deadline.allows_retry(wanted.seconds):
                import asyncio  # noqa: PLC0415 - loaded where it is used

                run.tracker.retrying()
                await asyncio.sleep(wanted.seconds)
            return fits
        call = self._begin(wanted, run)
        pool = self._async_pool or self._open_async_pool()
        return self._end(call, await pool.exchange(call.request, run.deadline))

    def _open_async_pool(self) -> AsyncPool:
        from chatstash.rest.http.asyncio_pool import AsyncPool  # noqa: PLC0415 - loaded where it is used

        if self._async_pool is None:
            self._async_pool = AsyncPool(self._pool, self._max_connections)
        return self._async_pool

    def _begin(self, attempt: Attempt, run: _Run) -> _Call:
        self._check_open()
        if run.deadline.has_passed:
            error = timed_out(sent=False)
            error.cost = Cost()
            raise error
        batch = attempt.batch
        run.tracker.request_sent(batch)
        ticket = run.sync_token.start(writes=batch.writes)
        run.deadline.begin_attempt(is_last=attempt.is_last)
        return _Call(batch, request_for(batch, sync_token=ticket.token, forms=self._forms), ticket, run)

    def _end(self, call: _Call, reply: HttpReply) -> Replies:
        call.run.sync_token.finish(call.ticket, sync_token_of(reply))
        cost = Cost(bytes_sent=len(call.request.body), bytes_received=len(reply.body))
        try:
            values = replies_from(call.batch, call.request, reply, token=self.endpoint.token)
        except DatabaseError as error:
            cost += Cost(commands=_ran_though_refused(call.batch, error))
            call.run.tracker.request_answered(cost)
            error.cost = cost + Cost(requests=1)
            if isinstance(error, FormRefused):
                self._forms = self._forms.without(error)
            raise
        cost += Cost(commands=call.batch.billed_commands(values))
        call.run.tracker.request_answered(cost)
        return Replies(values, cost + Cost(requests=1))


def _ran_though_refused(batch: Batch, error: DatabaseError) -> int:
    """Return how many commands of a batch that was refused as a whole are billed: those that got as far as running."""
    if isinstance(error, RequestTooLarge):
        # Of a write, the request was too large and was not looked at; of a read, its reply.
        return 0 if batch.effect is Effect.WRITE else len(batch.commands) + batch.script_commands
    return len(batch.commands) if isinstance(error, (CommandRejected, WrongType)) else 0


@lru_cache(maxsize=128)
def shared_database(endpoint: Endpoint) -> Database:
    """Return this process's one `Database` for an endpoint, so that all histories share its connections.

    The least recently asked for is let go beyond 128: whoever still holds it goes on using it.
    """
    return Database(endpoint, shared=True)


def _unpickled(url: str, shared: bool, max_connections: int) -> Database:
    try:
        endpoint = resolve_endpoint()
    except ValueError as error:
        raise ValueError(
            f"what is unpickled takes its token from the environment, for tokens are not pickled: {error}"
        ) from None
    if endpoint.url != url:
        raise ValueError(
            f"what is unpickled belongs to the database at {url}, but {URL_VARIABLE} names another ({endpoint.url}): "
            "its token is not sent there. Set both variables to the database's, or make the history anew"
        )
    return shared_database(endpoint) if shared else Database(endpoint, max_connections=max_connections)


def _warn_of_plain_http(endpoint: Endpoint) -> None:
    warnings.warn(
        f"{endpoint.url} is plain http to another machine: the token and all messages travel unencrypted. "
        "Use https, unless the network between is your own.",
        InsecureConnectionWarning,
        stacklevel=_levels_up_to_the_caller(),
    )


def _levels_up_to_the_caller() -> int:
    """Return the stacklevel at which `warnings.warn` names the line outside this package."""
    frame = sys._getframe(2)  # noqa: SLF001 - what warnings itself uses
    level = 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("chatstash."):
        frame = frame.f_back
        level += 1
    return level
