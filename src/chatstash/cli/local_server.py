"""Starts and stops the local Upstash of `serve` and `dev`, and reports why it cannot start."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chatstash.cli.signals import StopRequest
from chatstash.cli.terminal import fail
from chatstash.local import EngineError, Fault, ListenError, LocalUpstash, limits_of


@contextmanager
def running_server(stop: StopRequest, faults: Sequence[str] | None, settings: dict[str, Any]) -> Iterator[LocalUpstash]:
    """Run a local Upstash for the block, or print why it cannot start and exit.

    The settings are the arguments of `LocalUpstash`, with `replica_lag` in milliseconds; `limits` override the plan's.
    """
    upstash = _server(faults or (), **settings)
    _raise_open_file_limit()
    try:
        with stop.exit_at_once():
            upstash.start()
    except (EngineError, ListenError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        uses_redis = settings["redis"] or settings.get("databases")
        fail(f"cannot reach the Redis of --redis or --database: {error}" if uses_redis else str(error))
    # What is loaded now lives as long as this process: the garbage collector need not look at it.
    gc.freeze()
    try:
        yield upstash
    finally:
        upstash.stop()


def _server(
    faults: Sequence[str], *, plan: str, replica_lag: int | None, limits: dict[str, int] | None = None, **settings: Any
) -> LocalUpstash:
    lag = None if replica_lag is None else replica_lag / 1000
    try:
        upstash = LocalUpstash(plan=limits_of(plan, **(limits or {})), replica_lag=lag, **settings)
        for text in faults:
            upstash.faults.add(Fault.parse(text))
    except ValueError as error:
        fail(str(error), code=2)
    return upstash


def _raise_open_file_limit() -> None:
    """Allow the server as many connections as the system permits, instead of about 1000."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
