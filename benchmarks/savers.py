"""LangGraph's checkpointers behind one interface: one class each.

A saver that speaks the Redis protocol uses the Valkey behind the local Upstash. SQLite's has a file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import redis

from benchmarks.local_server import TOKEN, Relay, Server

_OWN = ("cmdstat_info", "cmdstat_hello", "cmdstat_client|setinfo")
"""Statistics of the commands with which the counters are read."""


class Counters(NamedTuple):
    """What a saver has cost so far; None where it cannot be counted.

    Attributes:
        requests: HTTP requests.
        commands: Billed commands; of the Redis protocol, commands.
        uploaded: Bytes of request bodies; of the Redis protocol, bytes sent; of SQLite, bytes of its file.
        downloaded: Bytes of reply bodies; of the Redis protocol, bytes received.
    """

    requests: int | None
    commands: int | None
    uploaded: int
    downloaded: int | None

    def since(self, before: Counters) -> dict[str, int | None]:
        """Return the difference to earlier counters, by name."""
        return {
            name: None if now is None or then is None else now - then
            for name, now, then in zip(self._fields, self, before, strict=True)
        }


class Saver:
    """A library's checkpointers of one database.

    Args:
        server: The local Upstash.
        folder: For files.

    Attributes:
        name: The library.
    """

    name: ClassVar[str]

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def opened(self, ttl: int | None = None) -> AbstractContextManager[Any]:
        """Open a new checkpointer with new connections, and close it at the end.

        Args:
            ttl: Seconds until what is stored expires; None keeps it.
        """
        raise NotImplementedError

    def counters(self) -> Counters:
        """Return what all checkpointers have cost so far."""
        raise NotImplementedError

    def stored(self) -> int:
        """Return the bytes of all that is stored."""
        with self._valkey() as valkey:
            return sum(valkey.memory_usage(key, samples=0) or 0 for key in valkey.scan_iter(count=1000))

    def clear(self) -> None:
        """Delete all that is stored."""
        with self._valkey() as valkey:
            valkey.flushall()

    def delay(self, seconds: float) -> None:
        """Delay each reply to checkpointers opened from now on; a file has none."""

    def elsewhere(self) -> Server:
        """Return the server as another process must use it to be counted here."""
        return self.server

    def _valkey(self) -> Any:
        return redis.Redis(port=self.server.redis_port)


class OverRest(Saver):
    """A saver over Upstash's REST API."""

    def delay(self, seconds: float) -> None:
        self.server.delay(seconds)

    def counters(self) -> Counters:
        stats = self.server.stats()
        return Counters(stats["requests"], stats["billed_commands"], stats["bytes_received"], stats["bytes_sent"])


class Chatstash(OverRest):
    """chatstash's saver."""

    name = "chatstash"

    def opened(self, ttl: int | None = None) -> AbstractContextManager[Any]:
        from chatstash.langgraph import UpstashRedisSaver  # noqa: PLC0415 - each process loads its saver alone

        return UpstashRedisSaver(self.server.url, TOKEN, ttl=ttl)


class ThirdParty(OverRest):
    """The saver of langgraph-checkpoint-upstash-redis."""

    name = "langgraph-checkpoint-upstash-redis"

    @contextmanager
    def opened(self, ttl: int | None = None) -> Iterator[Any]:
        from langgraph.checkpoint.upstash_redis import UpstashRedisSaver  # noqa: PLC0415

        saver = UpstashRedisSaver.from_conn_info(url=self.server.url, token=TOKEN, ttl=ttl)
        yield saver
        saver.client.close()


class OverRedis(Saver):
    """A saver over the Redis protocol; a relay counts its bytes."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server, folder)
        self.relay = Relay(server.redis_port)
        self.port = self.relay.port

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def delay(self, seconds: float) -> None:
        """Delay each reply; without a delay, connections are direct and their bytes are not counted."""
        self.relay.delay = seconds
        self.port = self.relay.port if seconds else self.server.redis_port

    def elsewhere(self) -> Server:
        return replace(self.server, redis_port=self.relay.port)

    def counters(self) -> Counters:
        with self._valkey() as valkey:
            commands = valkey.info("commandstats")
        counted = sum(each["calls"] for name, each in commands.items() if name not in _OWN)
        return Counters(None, counted, self.relay.sent, self.relay.count - self.relay.sent)


class PlainRedis(OverRedis):
    """The saver of langgraph-checkpoint-plainredis, which needs no Redis module."""

    name = "langgraph-checkpoint-plainredis"

    @contextmanager
    def opened(self, ttl: int | None = None) -> Iterator[Any]:
        from langgraph_checkpoint_plainredis import RedisSaver  # noqa: PLC0415

        saver = RedisSaver(url=self.url, ttl=ttl)
        yield saver
        saver.close()


class RedisModules(OverRedis):
    """The saver of langgraph-checkpoint-redis, which needs RedisJSON and RediSearch."""

    name = "langgraph-checkpoint-redis"

    @contextmanager
    def opened(self, ttl: int | None = None) -> Iterator[Any]:
        from langgraph.checkpoint.redis import RedisSaver  # noqa: PLC0415

        minutes = {"default_ttl": ttl / 60} if ttl else None
        with RedisSaver.from_conn_string(self.url, ttl=minutes) as saver:
            saver.setup()
            yield saver


class Sqlite(Saver):
    """The saver of langgraph-checkpoint-sqlite; it has no ttl."""

    name = "langgraph-checkpoint-sqlite"

    @contextmanager
    def opened(self, ttl: int | None = None) -> Iterator[Any]:
        from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: PLC0415

        if ttl is not None:
            raise NotImplementedError("it has no ttl")
        with SqliteSaver.from_conn_string(str(self._path)) as saver:
            yield saver

    def counters(self) -> Counters:
        return Counters(None, None, self.stored(), None)

    def stored(self) -> int:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._path.stat().st_size

    def clear(self) -> None:
        for path in self.folder.glob(f"{self._path.name}*"):
            path.unlink()

    @property
    def _path(self) -> Path:
        return self.folder / "checkpoints.sqlite"


EVERY: Sequence[type[Saver]] = (Chatstash, ThirdParty, PlainRedis, RedisModules, Sqlite)


def able(make: Callable[[type[Saver]], Saver]) -> tuple[list[Saver], dict[str, str]]:
    """Return the savers that work here, and why the others do not."""
    found: list[Saver] = []
    absent: dict[str, str] = {}
    for kind in EVERY:
        saver = make(kind)
        if reason := reason_against(lambda saver=saver: _used(saver)):
            absent[kind.name] = reason
        else:
            found.append(saver)
    return found, absent


def _used(saver: Saver) -> None:
    with saver.opened() as opened:
        opened.get_tuple({"configurable": {"thread_id": "able", "checkpoint_ns": ""}})


def reason_against(run: Callable[[], object]) -> str | None:
    """Run something, and return the error that it raised in one line, or None."""
    try:
        run()
    except Exception as error:  # noqa: BLE001 - any error of another library is reported
        return f"{type(error).__name__}: {(str(error) or 'no text').splitlines()[0][:200]}"
    return None
