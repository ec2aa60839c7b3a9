"""Copies a thread."""

from __future__ import annotations

import time

from chatstash.rest.ops import Op
from chatstash.threads.layout import ThreadKeys
from chatstash.threads.operations.requests import run_script
from chatstash.threads.scripts.loading import call
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
    answer = yield from run_script(script)
    return answer[-1:] == [1]
