"""Copies a thread."""

from __future__ import annotations

import time

from chatstash.errors import DatabaseError
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.ops import Op, send
from chatstash.threads.layout import ThreadKeys
from chatstash.threads.scripts.loading import COUNT_INDEX, call
from chatstash.threads.threads import Threads


def copy_thread(threads: Threads, source: ThreadKeys, target: ThreadKeys) -> Op[bool]:
    """Copy all checkpoints and writes to another thread, which keeps its own; one request and about eight commands.

    Tells whether the source exists.
    """
    if source == target:
        return True
    threads.known.forget(target.data)
    arguments = (threads.prefix, target.thread_id, int(time.time() * 1000), threads.ttl or "", threads.index.lifetime)
    script = call("copy_thread", (*source.both, *target.both), *arguments)
    replies = yield from send(Batch((script,), effect=Effect.IDEMPOTENT, command_count_index=COUNT_INDEX))
    answer = replies.values[0]
    if isinstance(answer, DatabaseError):
        raise answer
    return isinstance(answer, list) and answer[-1] == 1
