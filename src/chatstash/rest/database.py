"""Runs operations on one database, with a sync and an async driver.

No connection is opened before the first request. A `Database` may be shared by threads and event loops, and by parent
and child after a fork.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from chatstash import errors
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.deadline import Deadline
from chatstash.rest.digests import known_scripts
from chatstash.rest.endpoint import URL_VARIABLE, Endpoint, resolve_endpoint
from chatstash.rest.http.exchange import HttpReply, HttpRequest
from chatstash.rest.instrumentation import Instrumentation, OperationTracker
from chatstash.rest.limits import DEFAULT_MAX_CONNECTIONS, Budget, checked_max_connections
from chatstash.rest.metrics import OnOperation, StoreStats
from chatstash.rest.ops import Attempt, Op, Pause, retrying
from chatstash.rest.protocol import (
    DigestRefused,
    FormRefused,
    Forms,
    ScriptMissing,
    replies_from,
    request_for,
    sync_token_of,
    with_scripts_as_known,
)
from chatstash.rest.sync_token import SyncToken, SyncTokens, Ticket

if TYPE_CHECKING:
    from chatstash.rest.http.asyncio_pool import AsyncPool

T = TypeVar("T")


class _Run(NamedTuple):
    """A running operation."""

    deadline: Deadline
    sync_token: SyncToken
    tracker: OperationTracker


class _Sent(NamedTuple):
    """A request in flight, and its batch as it was sent."""

    batch: Batch
    request: HttpRequest
    ticket: Ticket


class Database:
    """Runs operations on one Upstash database."""

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
        from chatstash.rest.http.pool import Pool  # noqa: PLC0415 - sockets are imported on first use

        self._pool = Pool(endpoint, max_connections)
        self._async_pool: AsyncPool | None = None
        self._forms = Forms()
        self._scripts = known_scripts(endpoint)
        self._closed = False
        if endpoint.is_insecure:
            _warn_insecure(endpoint)

    def __repr__(self) -> str:
        return f"Database({self.endpoint.url!r})"

    def run(self, name: str, op: Op[T], key: str, budget: Budget) -> T:
        """Run an operation and return its result."""
        with OperationTracker(self._instrumentation, name, key) as tracker:
            run = _Run(Deadline(budget.timeout), self._sync_tokens.of(key), tracker)
            driven = retrying(op, budget)
            try:
                wanted = next(driven)
                while True:
                    try:
                        answer = self._do(wanted, run)
                    except (errors.DatabaseError, errors.StoreClosed) as error:
                        wanted = driven.throw(error)
                    else:
                        wanted = driven.send(answer)
            except StopIteration as stop:
                return tracker.with_cost(stop.value)  # type: ignore[no-any-return]

    async def arun(self, name: str, op: Op[T], key: str, budget: Budget) -> T:
        """Run an operation as `run` does, without blocking the event loop."""
        with OperationTracker(self._instrumentation, name, key) as tracker:
            run = _Run(Deadline(budget.timeout), self._sync_tokens.of(key), tracker)
            driven = retrying(op, budget)
            try:
                wanted = next(driven)
                while True:
                    try:
                        answer = await self._ado(wanted, run)
                    except (errors.DatabaseError, errors.StoreClosed) as error:
                        wanted = driven.throw(error)
                    else:
                        wanted = driven.send(answer)
            except StopIteration as stop:
                return tracker.with_cost(stop.value)  # type: ignore[no-any-return]

    def stats(self) -> StoreStats:
        """Return the totals of all operations in this process so far."""
        return self._instrumentation.stats

    def sync_token_of(self, key: str) -> str | None:
        """Return the read-your-writes token of the conversation at `key`; None before the first request."""
        return self._sync_tokens.of(key).value

    def set_sync_token(self, key: str, token: str | None) -> None:
        """Set the read-your-writes token of the conversation at `key`, or forget it; raises ValueError if invalid."""
        self._sync_tokens.of(key).value = token

    def __reduce__(self) -> tuple[Callable[..., Database], tuple[str, bool, int]]:
        # Credentials are not pickled: unpickling reads the token from the environment.
        return _unpickled, (self.endpoint.url, self._shared, self._max_connections)

    def __copy__(self) -> Database:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Database:
        # A copy of a history in the same process uses the same connections.
        return self

    def close(self) -> None:
        """Close the idle connections. Using the database afterwards raises `StoreClosed`."""
        self._closed = True
        self._pool.close()

    async def aclose(self) -> None:
        """Close as `close` does, and abort requests in flight in the running event loop."""
        self.close()
        if self._async_pool is not None:
            await self._async_pool.aclose()

    def _do(self, wanted: Attempt | Pause, run: _Run) -> Replies | bool:
        if isinstance(wanted, Pause):
            if in_time := run.deadline.allows_retry(wanted.seconds):
                run.tracker.retries += 1
                time.sleep(wanted.seconds)
            return in_time
        sent = self._start(wanted, run)
        reply = self._pool.exchange(sent.request, run.deadline)
        return self._finish(sent, reply, run)

    async def _ado(self, wanted: Attempt | Pause, run: _Run) -> Replies | bool:
        if isinstance(wanted, Pause):
            if in_time := run.deadline.allows_retry(wanted.seconds):
                import asyncio  # noqa: PLC0415 - imported on first use

                run.tracker.retries += 1
                await asyncio.sleep(wanted.seconds)
            return in_time
        sent = self._start(wanted, run)
        if self._async_pool is None:
            from chatstash.rest.http.asyncio_pool import AsyncPool  # noqa: PLC0415 - imported on first use

            self._async_pool = self._async_pool or AsyncPool(self._pool, self._max_connections)
        reply = await self._async_pool.exchange(sent.request, run.deadline)
        return self._finish(sent, reply, run)

    def _start(self, attempt: Attempt, run: _Run) -> _Sent:
        if self._closed:
            raise errors.StoreClosed(
                "The store is closed. Nothing was sent. Create a new Store, or keep this one open longer."
            )
        if run.deadline.has_passed:
            raise errors.RequestTimeout("The time ran out before the request could be sent")
        forms = self._forms
        batch = with_scripts_as_known(attempt.batch, forms, None if attempt.whole_scripts else self._scripts)
        run.tracker.sending(batch)
        ticket = run.sync_token.start(writes=batch.writes)
        run.deadline.start_attempt(is_last=attempt.is_last)
        return _Sent(batch, request_for(batch, sync_token=ticket.token, forms=forms), ticket)

    def _finish(self, sent: _Sent, reply: HttpReply, run: _Run) -> Replies:
        batch, request, ticket = sent
        run.sync_token.finish(ticket, sync_token_of(reply))
        sizes = len(request.body), len(reply.body)
        try:
            values = replies_from(batch, request, reply, token=self.endpoint.token)
        except errors.DatabaseError as error:
            run.tracker.answered(Cost(1, _billed_despite(error, batch), *sizes))
            if isinstance(error, FormRefused):
                self._refused(error, batch)
            raise
        cost = Cost(1, batch.billed_commands(values), *sizes)
        run.tracker.answered(cost)
        self._scripts.learn(batch.commands, values)
        return Replies(values, cost)

    def _refused(self, error: FormRefused, batch: Batch) -> None:
        self._forms = self._forms.without(error)
        if isinstance(error, ScriptMissing):
            self._scripts.forget(batch.commands)
        elif isinstance(error, DigestRefused):
            self._scripts.send_whole()


def _billed_despite(error: errors.DatabaseError, batch: Batch) -> int:
    """Return how many commands are billed although the whole batch was refused: those that ran."""
    if isinstance(error, errors.RequestTooLarge):
        # The request of a write was too large, and did not run; so was the reply of a read, which did.
        return 0 if batch.effect is Effect.WRITE else len(batch.commands) + batch.script_commands
    return len(batch.commands) if isinstance(error, (errors.CommandRejected, errors.WrongType)) else 0


@lru_cache(maxsize=128)
def shared_database(endpoint: Endpoint) -> Database:
    """Return this process's `Database` of an endpoint, whose connections all its users share.

    The 128 most recently requested ones are kept. A database that is dropped still works for its users.
    """
    return Database(endpoint, shared=True)


def _unpickled(url: str, shared: bool, max_connections: int) -> Database:
    try:
        endpoint = resolve_endpoint()
    except ValueError as error:
        raise ValueError(
            f"Tokens are not pickled: unpickling a store or history reads the token from the environment. {error}"
        ) from None
    if endpoint.url != url:
        raise ValueError(
            f"Cannot unpickle a store or history of the database at {url}: {URL_VARIABLE} names another "
            f"({endpoint.url}), whose token is not sent there. Set both variables to the database's, or create a new "
            "store or history."
        )
    return shared_database(endpoint) if shared else Database(endpoint, max_connections=max_connections)


def _warn_insecure(endpoint: Endpoint) -> None:
    warnings.warn(
        f"{endpoint.url} is plain http to another machine: the token and all messages travel unencrypted. "
        "Use https, unless you trust the network.",
        errors.InsecureConnectionWarning,
        stacklevel=_stacklevel_of_caller(),
    )


def _stacklevel_of_caller() -> int:
    """Return the stacklevel at which `warnings.warn` names the first line outside this package."""
    frame = sys._getframe(2)  # noqa: SLF001 - what warnings itself uses
    level = 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("chatstash."):
        frame = frame.f_back
        level += 1
    return level
