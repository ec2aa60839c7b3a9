"""Lists checkpoints in steps: each step is an operation to run, or a checkpoint to hand out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from chatstash.langgraph.checkpoints import Loader
from chatstash.langgraph.places import checkpoint_id_of, configurable, namespace_of, thread_id_of
from chatstash.langgraph.serialization import Serialization
from chatstash.rest.ops import Op
from chatstash.threads.layout import Place, ThreadKeys
from chatstash.threads.operations.listing import MAX_LIMIT, list_threads
from chatstash.threads.operations.names import Named, named, read_named, read_names
from chatstash.threads.operations.read import (
    Fetched,
    Range,
    StoredCheckpoint,
    read_checkpoint,
    read_checkpoints,
    read_newest,
)
from chatstash.threads.threads import Threads

CHECKPOINTS_PER_READ = 200
_NAMES_PER_CHECKPOINT = 4


class Step(NamedTuple):
    """An operation to run; its result is sent to the listing."""

    op: Op[Any]
    key: str


Steps: TypeAlias = Generator[Step | CheckpointTuple, Any, None]
_Found: TypeAlias = Generator[Step | CheckpointTuple, Any, int]


class Wanted(NamedTuple):
    """Which checkpoints to list.

    Attributes:
        config: Names a thread, and perhaps a namespace and a checkpoint; None for all threads.
        filter: What the metadata must say; None for anything.
        before: Names a checkpoint; only those with smaller ids are listed. None for all.
        limit: How many checkpoints to return; None for all.
    """

    config: RunnableConfig | None
    filter: Mapping[str, Any] | None
    before: RunnableConfig | None
    limit: int | None


class _Thread(NamedTuple):
    """A thread that is listed, what was read of it, and what loads its checkpoints."""

    keys: ThreadKeys
    fetched: Fetched
    loader: Loader


class Listing:
    """Lists checkpoints; raises ValueError if a config is invalid."""

    def __init__(self, threads: Threads, serialization: Serialization, wanted: Wanted) -> None:
        self._threads = threads
        self._serialization = serialization
        self._config = wanted.config
        self._filter = wanted.filter or {}
        self._before = checkpoint_id_of(wanted.before)
        self._limit = wanted.limit
        if wanted.config is not None:
            self._first = threads.keys(thread_id_of(wanted.config))
            namespace_of(wanted.config)

    def steps(self) -> Steps:
        """Return the steps."""
        if self._limit is not None and self._limit <= 0:
            return
        if self._config is not None:
            yield from self._of_thread(self._first, self._limit)
            return
        cursor: str | None = None
        left = self._limit
        while True:
            page = yield Step(list_threads(self._threads, None, MAX_LIMIT, cursor), self._threads.prefix)
            for thread in page.threads:
                found = yield from self._of_thread(self._threads.keys(thread.thread_id), left)
                left = None if left is None else left - found
                if left == 0:
                    return
            cursor = page.cursor
            if cursor is None:
                return

    def _of_thread(self, keys: ThreadKeys, left: int | None) -> _Found:
        thread = _Thread(keys, Fetched(), Loader(keys.thread_id, self._serialization))
        configured = configurable(self._config) if self._config is not None else {}
        namespace = configured.get("checkpoint_ns")
        checkpoint_id = checkpoint_id_of(self._config)
        if namespace is None and checkpoint_id is None and left == 1 and not self._filter:
            stored = yield Step(read_newest(self._threads, keys, self._before), keys.data)
            return (yield from self._handed_out(thread, [] if stored is None else [stored], left))
        if namespace is None:
            return (yield from self._everywhere(thread, checkpoint_id, left))
        wanted = Range.of_namespace(namespace, self._before)
        if checkpoint_id is not None:
            if self._before is not None and checkpoint_id >= self._before:
                return 0
            wanted = Range.of_checkpoint(Place(namespace, checkpoint_id))
        if checkpoint_id is not None or (left == 1 and not self._filter):
            stored = yield Step(read_checkpoint(self._threads, keys, wanted), keys.data)
            return (yield from self._handed_out(thread, [] if stored is None else [stored], left))
        return (yield from self._of_namespace(thread, wanted, left))

    def _of_namespace(self, thread: _Thread, wanted: tuple[str, str], left: int | None) -> _Found:
        end: str | None = wanted[0]
        found = 0
        while end is not None and left != found:
            size = CHECKPOINTS_PER_READ if left is None or self._filter else min(left - found, CHECKPOINTS_PER_READ)
            some, end = yield Step(
                read_named(thread.keys, (end, wanted[1]), size * _NAMES_PER_CHECKPOINT), thread.keys.data
            )
            found += yield from self._read(thread, some, None if left is None else left - found)
        return found

    def _everywhere(self, thread: _Thread, checkpoint_id: str | None, left: int | None) -> _Found:
        """List all namespaces, the greatest ids first."""
        members = yield Step(read_names(thread.keys), thread.keys.data)
        names = [name for name in named(members) if self._is_wanted(name, checkpoint_id)]
        names.sort(key=lambda name: name.name.place.checkpoint_id, reverse=True)
        return (yield from self._read(thread, names, left))

    def _is_wanted(self, name: Named, checkpoint_id: str | None) -> bool:
        own = name.name.place.checkpoint_id
        return (checkpoint_id is None or own == checkpoint_id) and (self._before is None or own < self._before)

    def _read(self, thread: _Thread, names: Sequence[Named], left: int | None) -> _Found:
        found = 0
        for at in range(0, len(names), CHECKPOINTS_PER_READ):
            if left == found:
                break
            some = names[at : at + CHECKPOINTS_PER_READ]
            if left is not None and not self._filter:
                some = some[: left - found]
            stored = yield Step(read_checkpoints(thread.keys, some, thread.fetched), thread.keys.data)
            found += yield from self._handed_out(thread, stored, None if left is None else left - found)
        return found

    def _handed_out(self, thread: _Thread, stored: Sequence[StoredCheckpoint], left: int | None) -> _Found:
        found = 0
        for checkpoint in stored:
            if left == found:
                break
            if self._matches(checkpoint):
                found += 1
                yield thread.loader.checkpoint_tuple(checkpoint)
        return found

    def _matches(self, checkpoint: StoredCheckpoint) -> bool:
        if not self._filter:
            return True
        metadata = self._serialization.load(checkpoint.text.metadata, checkpoint.name.place.prefix)
        return all(metadata.get(key) == value for key, value in self._filter.items())
