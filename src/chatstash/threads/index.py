"""The indexes of threads: all, those of a user, and the checkpoints of a run.

An index of threads is a sorted set; the score is the time of the last write, in milliseconds since the epoch. It is
written at most once a minute for each thread, so it costs almost nothing; checkpoints say when that was. Threads with a
ttl have indexes of their own, which expire: nothing is left behind.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from chatstash.rest.commands import Command
from chatstash.rest.fork import register_fork_reset
from chatstash.threads.layout import Place, ThreadKeys

NOTE_SECONDS = 60.0
MAX_NOTED = 10_000


class Noted(NamedTuple):
    """When a write was last noted in the indexes, in seconds since the epoch, and for which user."""

    at: int
    user_id: str | None = None


class Index:
    """The indexes of the threads under one prefix."""

    def __init__(self, prefix: str, ttl: int | None) -> None:
        self._prefix = prefix
        self._ttl = ttl
        self._window = NOTE_SECONDS if ttl is None else min(NOTE_SECONDS, ttl / 4)
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Forget everything; a lock may have been held when the process forked."""
        self._lock = threading.Lock()
        self._noted: OrderedDict[tuple[str, str | None], float] = OrderedDict()

    @property
    def lifetime(self) -> int:
        """How many milliseconds an index lives: a thread's last write may be a window later than the time noted."""
        return int(((self._ttl or 0) + self._window) * 1000)

    def keys(self, user_id: str | None = None) -> tuple[str, str]:
        """Return the index of threads that never expire, and that of the others."""
        if user_id is None:
            return f"{self._prefix}:threads", f"{self._prefix}:expiring"
        return f"{self._prefix}{user_id}:u", f"{self._prefix}{user_id}:x"

    def run_key(self, run_id: str) -> str:
        """Return the key of the set that holds the checkpoints of a run."""
        return f"{self._prefix}{run_id}:r"

    def is_due(self, keys: ThreadKeys, user_id: str | None = None) -> bool:
        """Tell whether it is time to note a write, because this process noted none lately."""
        with self._lock:
            return time.time() - self._noted.get((keys.data, user_id), 0.0) >= self._window

    def was_noted(self, keys: ThreadKeys, noted: Noted | None) -> None:
        """Remember when another process noted a write, as the thread's newest checkpoint says."""
        if noted is not None:
            self._remember(keys, noted)

    def noting(self, keys: ThreadKeys, user_id: str | None = None, *, is_new: bool = False) -> tuple[Command, ...]:
        """Return the commands that note a write.

        Args:
            keys: The thread.
            user_id: The user it belongs to, if any.
            is_new: Whether the thread is new, so the index may be, too.
        """
        self._remember(keys, Noted(int(time.time()), user_id))
        return self._noting(keys, [None] if user_id is None else [None, user_id], is_new=is_new)

    def last_noted(self, keys: ThreadKeys, user_id: str | None) -> Noted | None:
        """Return when a write was noted, as far as this process knows."""
        with self._lock:
            at = self._noted.get((keys.data, user_id))
        return None if at is None else Noted(int(at), user_id)

    def _remember(self, keys: ThreadKeys, noted: Noted) -> None:
        with self._lock:
            # The clock of another process may be ahead.
            self._noted[keys.data, noted.user_id] = min(noted.at, int(time.time()))
            self._noted.move_to_end((keys.data, noted.user_id))
            if len(self._noted) > MAX_NOTED:
                self._noted.popitem(last=False)

    def noting_run(self, run_id: str, keys: ThreadKeys, place: Place) -> tuple[Command, ...]:
        """Return the commands that note a checkpoint of a run."""
        key = self.run_key(run_id)
        noted: Command = ("SADD", key, f"{place.prefix}!{keys.thread_id}")
        return (noted,) if self._ttl is None else (noted, ("EXPIRE", key, self._ttl))

    def forget(self, keys: ThreadKeys) -> None:
        """Forget when a thread was noted, so that its next write notes it again."""
        with self._lock:
            for name in [name for name in self._noted if name[0] == keys.data]:
                del self._noted[name]

    def _noting(self, keys: ThreadKeys, users: list[str | None], *, is_new: bool) -> tuple[Command, ...]:
        now = int(time.time() * 1000)
        commands: list[Command] = []
        for user in users:
            lasting, expiring = self.keys(user)
            commands.append(("ZADD", lasting if self._ttl is None else expiring, now, keys.thread_id))
            if self._ttl is not None:
                commands += [("PEXPIRE", expiring, self.lifetime, "NX")] if is_new else []
                commands.append(("PEXPIRE", expiring, self.lifetime, "GT"))
        return tuple(commands)
