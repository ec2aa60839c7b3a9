"""Starts and stops the local Upstash of `serve` and `dev`, and reports why it cannot start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chatstash.cli.signals import StopRequest
from chatstash.cli.terminal import fail
from chatstash.local import EngineError, Fault, ListenError, LocalUpstash


@contextmanager
def running_server(stop: StopRequest, faults: Sequence[str] | None, options: dict[str, Any]) -> Iterator[LocalUpstash]:
    """Run a local Upstash for the block, or print why it cannot start and exit.

    Args:
        stop: Set when the process is asked to stop.
        faults: Faults to inject, as text.
        options: The arguments of `LocalUpstash`; `replica_lag` in milliseconds.
    """
    _refuse_contradictions(options)
    lag = options.pop("replica_lag")
    try:
        upstash = LocalUpstash(replica_lag=None if lag is None else lag / 1000, **options)
        for text in faults or ():
            upstash.faults.add(Fault.parse(text))
        _raise_open_file_limit()
        with stop.exit_at_once():
            upstash.start()
    except (EngineError, ListenError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        uses_redis = options["redis"] or options.get("databases")
        fail(f"cannot reach the Redis of --redis or --database: {error}" if uses_redis else str(error))
    try:
        yield upstash
    finally:
        upstash.stop()


def _refuse_contradictions(options: dict[str, Any]) -> None:
    if options["data"] is not None and options["redis"]:
        fail("use either --data or --redis: an external Redis keeps its own data", code=2)
    if options["replica_lag"] is not None and options["redis"]:
        fail("use either --replica-lag or --redis: a replica needs the embedded Valkey", code=2)
    if options.get("fsync") == "always" and options["data"] is None:
        fail("--fsync always needs --data, the directory that keeps the data", code=2)


def _raise_open_file_limit() -> None:
    """Allow the server as many connections as the system permits, instead of about 1000."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on Windows

        _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
