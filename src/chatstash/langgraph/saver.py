"""`UpstashRedisSaver`: keeps the checkpoints of LangGraph's graphs and LangChain's agents in Upstash Redis."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from chatstash.closing import Closing
from chatstash.langgraph.checkpoints import (
    INTERRUPT_KIND,
    Loader,
    delta_history,
    new_checkpoint,
    user_id_of,
    writes_text,
)
from chatstash.langgraph.connection import Connection, connection_of
from chatstash.langgraph.listing import Listing, Step, Steps, Wanted
from chatstash.langgraph.places import checkpoint_id_of, config_of, namespace_of, thread_id_of
from chatstash.langgraph.serialization import Serialization
from chatstash.langgraph.strict_types import AllowedTypes, strict_serializer
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Op
from chatstash.rest.plan import checked_prefix, checked_ttl
from chatstash.rest.secret import as_secret
from chatstash.threads.index import Index
from chatstash.threads.layout import Place, checked_text
from chatstash.threads.operations.copy import copy_thread
from chatstash.threads.operations.history import channel_histories
from chatstash.threads.operations.listing import (
    ThreadPage,
    checked_cursor,
    checked_limit,
    delete_user,
    list_threads,
)
from chatstash.threads.operations.put import put
from chatstash.threads.operations.put_writes import TaskWrites, put_writes
from chatstash.threads.operations.read import Range, read_checkpoint
from chatstash.threads.operations.remove import delete_thread, prune, remove_run
from chatstash.threads.threads import Threads

if TYPE_CHECKING:
    from chatstash.history import Store

T = TypeVar("T")

DEFAULT_PREFIX = "checkpoints:"


class UpstashRedisSaver(BaseCheckpointSaver[str], Closing):
    """Keeps the checkpoints of graphs and agents in an Upstash Redis database.

    A checkpoint stores only what its parent did not: a turn uploads as much after 10 as after 2,000 messages. Makes no
    request when constructed. Safe to share between threads, event loops and forked processes. Each method has an
    asynchronous form that does not block the event loop.

    A value of a type that LangGraph does not know to be harmless is stored, but not loaded: reading raises
    `TypeNotAllowed`, which says how to allow it.

    Args:
        url: The database's REST URL; empty for `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: Prefix of the threads' keys; the thread id follows. Savers with one prefix should have one ttl.
        ttl: Seconds until a thread expires after its last write; None for never.
        refresh_ttl_on_read: Whether reading a checkpoint restarts the ttl, for two more commands.
        serde: Serialiser of the values; None for LangGraph's, with `allowed_types`. `EncryptedSerializer` encrypts.
        allowed_types: Classes, or pairs of module and name, that may be loaded besides LangGraph's own list.
        store: A store whose database, retry policy and request size are used; url and token must then be empty.

    Raises:
        ValueError: An argument is invalid, or there is no url or token.
    """

    def __init__(
        self,
        url: str = "",
        token: str = "",
        *,
        key_prefix: str = DEFAULT_PREFIX,
        ttl: int | None = None,
        refresh_ttl_on_read: bool = False,
        serde: SerializerProtocol | None = None,
        allowed_types: AllowedTypes = (),
        store: Store | None = None,
    ) -> None:
        self._given_serde = serde
        self._allowed_types = allowed = tuple(allowed_types)
        if serde is not None and allowed:
            raise ValueError("allowed_types is for LangGraph's serialiser: give your serde= its own list of types")
        super().__init__(serde=serde or strict_serializer(allowed))
        # Tracebacks that show arguments show neither the token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        self._connection = connection_of(url, token, store)
        self._threads = Threads(
            prefix=checked_prefix(key_prefix),
            ttl=checked_ttl(ttl),
            refresh_ttl_on_read=bool(refresh_ttl_on_read),
            max_request_bytes=self._connection.max_request_bytes,
            retry_policy=self._connection.retry_policy,
            index=Index(key_prefix, ttl),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # LangGraph's serialiser cannot be pickled, and what is remembered is of one process.
        options = {
            "key_prefix": self._threads.prefix,
            "ttl": self._threads.ttl,
            "refresh_ttl_on_read": self._threads.refresh_ttl_on_read,
            "serde": self._given_serde,
            "allowed_types": self._allowed_types,
        }
        return _rebuilt, (type(self), self._connection, options)

    @classmethod
    def from_env(
        cls,
        *,
        key_prefix: str = DEFAULT_PREFIX,
        ttl: int | None = None,
        refresh_ttl_on_read: bool = False,
        serde: SerializerProtocol | None = None,
        allowed_types: AllowedTypes = (),
    ) -> Self:
        """Return a saver for the database that the environment names; the arguments are those of the class.

        Raises:
            ValueError: An argument is invalid, or a variable is missing.
        """
        return cls(
            key_prefix=key_prefix,
            ttl=ttl,
            refresh_ttl_on_read=refresh_ttl_on_read,
            serde=serde,
            allowed_types=allowed_types,
        )

    def __repr__(self) -> str:
        threads = self._threads
        url = self._connection.database.endpoint.url
        shown = f"{url!r}, token='***', key_prefix={threads.prefix!r}, ttl={threads.ttl!r}"
        return f"{type(self).__name__}({shown})"

    @property
    def key_prefix(self) -> str:
        """Prefix of the threads' keys."""
        return self._threads.prefix

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002 - LangGraph's signature
        """Return the version that follows: a counter, and random digits that tell the branches of a fork apart."""
        if current is None:
            width, number = 10, 0
        else:
            digits = str(current).partition(".")[0]
            width, number = max(10, len(digits)), int(digits)
        return f"{number + 1:0{width}}.{secrets.token_hex(3)}"

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that a config names, or the newest of its namespace, with its pending writes.

        One request and four commands; two for a new thread. One more command for each further 1,000 values, and for
        each level of pages, into which long lists written by many processes are put. More requests only over the
        request size.

        Args:
            config: Names the thread, and perhaps `checkpoint_ns` and `checkpoint_id`.

        Raises:
            ValueError: The config names no thread, or an id is invalid; nothing was sent.
            TypeNotAllowed: A value has a type that may not be loaded.
            UnreadableCheckpoint: The checkpoint is damaged, or a newer version of chatstash wrote it.
            DatabaseError: Any other failure.
        """
        return self._run("read_checkpoint", self._get_tuple(config), config, self._threads.retry_policy.read)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint as `get_tuple` does, without blocking the event loop."""
        return await self._arun("read_checkpoint", self._get_tuple(config), config, self._threads.retry_policy.read)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, newest first.

        `limit=1` without a filter takes one request; otherwise one for each 200 checkpoints' names, one for their
        contents, and one or more for values that newer ones had not.

        Args:
            config: Names a thread, and perhaps a namespace or a checkpoint; None for all threads.
            filter: Fields that the metadata must have, with their values.
            before: Names a checkpoint; only those with smaller ids are listed.
            limit: Maximum number of checkpoints; None for all.

        Raises:
            ValueError, TypeNotAllowed, UnreadableCheckpoint, DatabaseError: As `get_tuple`.
        """
        steps = self._listing(Wanted(config, filter, before, limit))
        answer: Any = None
        while (step := _next(steps, answer)) is not None:
            answer = None
            if isinstance(step, Step):
                answer = self._connection.database.run(
                    "list_checkpoints", step.op, step.key, self._threads.retry_policy.read
                )
            else:
                yield step

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints as `list` does, without blocking the event loop."""
        steps = self._listing(Wanted(config, filter, before, limit))
        answer: Any = None
        while (step := _next(steps, answer)) is not None:
            answer = None
            if isinstance(step, Step):
                budget = self._threads.retry_policy.read
                answer = await self._connection.database.arun("list_checkpoints", step.op, step.key, budget)
            else:
                yield step

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; one request and two commands, four with a ttl.

        About once a minute for each thread, one more command notes the thread in the index, two with a ttl, and twice
        as many for a user. Values over the request size are sent in parts before the checkpoint. If the thread expired,
        or was deleted or pruned since it was read, one more request stores the whole state.

        Args:
            config: Names the thread, the namespace, and as `checkpoint_id` the parent. A `user_id` in it or in its
                metadata lists the thread under that user.
            checkpoint: The checkpoint.
            metadata: Its metadata.
            new_versions: The versions of the channels that changed.

        Returns:
            The config that names the checkpoint.

        Raises:
            ValueError: The config names no thread, or an id is invalid; nothing was sent.
            UnstorableValue: A value cannot be serialised; nothing was sent.
            ReadOnlyToken: The token may not write; nothing was changed.
            DatabaseError: Any other failure. Storing the same checkpoint again is safe.
        """
        op = self._put(config, checkpoint, metadata, new_versions)
        return self._run("put_checkpoint", op, config, self._threads.retry_policy.append)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint as `put` does, without blocking the event loop."""
        op = self._put(config, checkpoint, metadata, new_versions)
        return await self._arun("put_checkpoint", op, config, self._threads.retry_policy.append)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task; one request and two commands, four with a ttl.

        A write that is stored already stays as it is; errors, interrupts and answers replace earlier ones.

        Args:
            config: Names the thread, the namespace and the checkpoint.
            writes: Pairs of channel and value.
            task_id: The task's id.
            task_path: The task's path, by which writes are ordered.

        Raises:
            ValueError, UnstorableValue, ReadOnlyToken, DatabaseError: As `put`.
        """
        op = self._put_writes(config, writes, task_id, task_path)
        self._run("put_writes", op, config, self._threads.retry_policy.append)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task as `put_writes` does, without blocking the event loop."""
        op = self._put_writes(config, writes, task_id, task_path)
        await self._arun("put_writes", op, config, self._threads.retry_policy.append)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the writes of the ancestors of a checkpoint to delta channels, back to their last snapshots.

        One request and three commands; one more command with a snapshot, and for each further 500 names in the thread.

        Args:
            config: Names the checkpoint.
            channels: The channels.

        Raises:
            ValueError, TypeNotAllowed, UnreadableCheckpoint, DatabaseError: As `get_tuple`.
        """
        op = self._delta_history(config, channels)
        return self._run("read_channel_history", op, config, self._threads.retry_policy.read)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the history as `get_delta_channel_history` does, without blocking the event loop."""
        op = self._delta_history(config, channels)
        return await self._arun("read_channel_history", op, config, self._threads.retry_policy.read)

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread and every trace of it; one request and about six commands.

        Args:
            thread_id: The thread's id.

        Raises:
            ValueError: The id is invalid; nothing was sent.
            ReadOnlyToken: The token may not write; nothing was changed.
            DatabaseError: Any other failure. Deleting again is safe.
        """
        keys = self._threads.keys(thread_id)
        self._connection.database.run(
            "delete_thread", delete_thread(self._threads, keys), keys.data, self._write_budget
        )

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread as `delete_thread` does, without blocking the event loop."""
        keys = self._threads.keys(thread_id)
        await self._connection.database.arun(
            "delete_thread", delete_thread(self._threads, keys), keys.data, self._write_budget
        )

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs from all threads; for each run two requests, and two for each of its threads.

        Finds the checkpoints whose metadata had a `run_id` when they were stored. Later checkpoints of the same thread
        keep their values. A delta channel whose writes are removed loses them.

        Args:
            run_ids: The ids of the runs.

        Raises:
            ValueError, ReadOnlyToken, DatabaseError: As `delete_thread`.
        """
        for run_id in [checked_text("run_id", run_id) for run_id in run_ids]:
            self._connection.database.run("delete_run", remove_run(self._threads, run_id), run_id, self._write_budget)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs as `delete_for_runs` does, without blocking the event loop."""
        for run_id in [checked_text("run_id", run_id) for run_id in run_ids]:
            await self._connection.database.arun(
                "delete_run", remove_run(self._threads, run_id), run_id, self._write_budget
            )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes to another thread, which keeps its own; one request and about ten commands.

        Args:
            source_thread_id: The thread to copy. If it does not exist, nothing happens.
            target_thread_id: The thread to copy to.

        Raises:
            ValueError, ReadOnlyToken, DatabaseError: As `delete_thread`.
        """
        op, key = self._copy(source_thread_id, target_thread_id)
        self._connection.database.run("copy_thread", op, key, self._write_budget)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread as `copy_thread` does, without blocking the event loop."""
        op, key = self._copy(source_thread_id, target_thread_id)
        await self._connection.database.arun("copy_thread", op, key, self._write_budget)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest", keep_last: int = 1) -> None:
        """Remove old checkpoints of threads, and the values that only they need; for each thread three requests.

        Keeps the newest of each namespace, those that wait for an answer to an interrupt, and those from which delta
        channels are made.

        Args:
            thread_ids: The threads.
            strategy: `keep_latest`, or `delete` to delete the threads.
            keep_last: How many checkpoints of each namespace to keep.

        Raises:
            ValueError, ReadOnlyToken, DatabaseError: As `delete_thread`.
            ConversationChanged: The thread kept changing; nothing was removed from it.
        """
        for op, key in self._pruning(thread_ids, strategy, keep_last):
            self._connection.database.run("prune_thread", op, key, self._write_budget)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest", keep_last: int = 1) -> None:
        """Remove old checkpoints as `prune` does, without blocking the event loop."""
        for op, key in self._pruning(thread_ids, strategy, keep_last):
            await self._connection.database.arun("prune_thread", op, key, self._write_budget)

    def list_threads(self, user_id: str | None = None, *, limit: int = 50, cursor: str | None = None) -> ThreadPage:
        """Return a page of threads, the one last written first; three requests, four commands, and one for each thread.

        Expired threads are not listed.

        Args:
            user_id: Only the threads of this user; None for all.
            limit: Maximum number of threads, up to 1,000.
            cursor: Where the page begins: the `cursor` of the page before; None for the first.

        Raises:
            ValueError: An argument is invalid; nothing was sent.
            DatabaseError: Any other failure.
        """
        op = self._list_threads(user_id, limit, cursor)
        return self._connection.database.run("list_threads", op, self._threads.prefix, self._threads.retry_policy.read)

    async def alist_threads(
        self, user_id: str | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> ThreadPage:
        """Return a page of threads as `list_threads` does, without blocking the event loop."""
        op = self._list_threads(user_id, limit, cursor)
        return await self._connection.database.arun(
            "list_threads", op, self._threads.prefix, self._threads.retry_policy.read
        )

    def delete_user(self, user_id: str) -> int:
        """Delete all threads of a user, and tell how many; one request for each thread, and three for each 50.

        Args:
            user_id: The user's id: the `user_id` of the configs with which the threads were written.

        Raises:
            ValueError, ReadOnlyToken, DatabaseError: As `delete_thread`. Deleting again goes on where it stopped.
        """
        op = delete_user(self._threads, _checked_user(user_id))
        return self._connection.database.run("delete_user", op, self._threads.prefix, self._write_budget)

    async def adelete_user(self, user_id: str) -> int:
        """Delete the threads of a user as `delete_user` does, without blocking the event loop."""
        op = delete_user(self._threads, _checked_user(user_id))
        return await self._connection.database.arun("delete_user", op, self._threads.prefix, self._write_budget)

    def close(self) -> None:
        """Close the store that the saver was given; connections that others share stay open."""
        self._connection.close()

    async def aclose(self) -> None:
        """Close as `close` does, with the connections of the running event loop."""
        await self._connection.aclose()

    @property
    def _serialization(self) -> Serialization:
        return Serialization(self.serde)

    @property
    def _write_budget(self) -> Budget:
        return self._threads.retry_policy.idempotent

    def _run(self, name: str, op: Op[T], config: RunnableConfig, budget: Budget) -> T:
        return self._connection.database.run(name, op, self._threads.keys(thread_id_of(config)).data, budget)

    async def _arun(self, name: str, op: Op[T], config: RunnableConfig, budget: Budget) -> T:
        return await self._connection.database.arun(name, op, self._threads.keys(thread_id_of(config)).data, budget)

    def _get_tuple(self, config: RunnableConfig) -> Op[CheckpointTuple | None]:
        keys = self._threads.keys(thread_id_of(config))
        namespace, checkpoint_id = namespace_of(config), checkpoint_id_of(config)
        wanted = Range.of_namespace(namespace)
        if checkpoint_id is not None:
            wanted = Range.of_checkpoint(Place(namespace, checkpoint_id))
        stored = yield from read_checkpoint(self._threads, keys, wanted)
        if stored is None:
            return None
        loader = Loader(keys.thread_id, self._serialization)
        found = loader.checkpoint_tuple(stored, config if checkpoint_id is not None else None)
        known = loader.known(stored, found.checkpoint["channel_versions"])
        self._threads.known.put(keys.data, stored.name.place, known)
        if checkpoint_id is None:
            self._threads.index.was_noted(keys, stored.text.header.noted)
        return found

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Op[RunnableConfig]:
        keys = self._threads.keys(thread_id_of(config))
        new = new_checkpoint(config, checkpoint, metadata, new_versions, self._serialization)
        yield from put(self._threads, keys, new)
        return config_of(keys.thread_id, new.place)

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Op[None]:
        keys = self._threads.keys(thread_id_of(config))
        checkpoint_id = checkpoint_id_of(config)
        if checkpoint_id is None:
            raise ValueError("put_writes needs a config that names a checkpoint_id. Nothing was sent.")
        place = Place(namespace_of(config), checkpoint_id)
        text = writes_text(writes, checked_text("task_path", task_path), self._serialization)
        task = TaskWrites(place, checked_text("task_id", task_id), text, user_id_of(config))
        return (yield from put_writes(self._threads, keys, task))

    def _delta_history(self, config: RunnableConfig, channels: Sequence[str]) -> Op[Mapping[str, DeltaChannelHistory]]:
        keys = self._threads.keys(thread_id_of(config))
        namespace, checkpoint_id = namespace_of(config), checkpoint_id_of(config)
        if not channels:
            return {}
        histories = yield from channel_histories(self._threads, keys, namespace, checkpoint_id, channels)
        return delta_history(histories, self._serialization)

    def _listing(self, wanted: Wanted) -> Steps:
        return Listing(self._threads, self._serialization, wanted).steps()

    def _copy(self, source_thread_id: str, target_thread_id: str) -> tuple[Op[bool], str]:
        source, target = self._threads.keys(source_thread_id), self._threads.keys(target_thread_id)
        return copy_thread(self._threads, source, target), target.data

    def _pruning(self, thread_ids: Sequence[str], strategy: str, keep_last: int) -> Collection[tuple[Op[Any], str]]:
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")
        if not isinstance(keep_last, int) or isinstance(keep_last, bool) or keep_last < 1:
            raise ValueError(f"keep_last must be a whole number, 1 or more, not {keep_last!r}")
        threads = [self._threads.keys(thread_id) for thread_id in thread_ids]
        if strategy == "delete":
            return [(delete_thread(self._threads, keys), keys.data) for keys in threads]
        return [(prune(self._threads, keys, keep_last, INTERRUPT_KIND), keys.data) for keys in threads]

    def _list_threads(self, user_id: str | None, limit: int, cursor: str | None) -> Op[ThreadPage]:
        user = None if user_id is None else _checked_user(user_id)
        return list_threads(self._threads, user, checked_limit(limit), checked_cursor(cursor))


def _rebuilt(kind: type[UpstashRedisSaver], connection: Connection, options: dict[str, Any]) -> UpstashRedisSaver:
    if connection.store is not None:
        return kind(store=connection.store, **options)
    endpoint = connection.database.endpoint
    return kind(endpoint.url, endpoint.token.get_secret_value(), **options)


def _next(steps: Steps, answer: Any) -> Step | CheckpointTuple | None:
    """Send the answer of a step, and return the next step, or None at the end."""
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _checked_user(user_id: str) -> str:
    if not user_id:
        raise ValueError(f"user_id must be a non-empty string, not {user_id!r}")
    return checked_text("user_id", user_id)
