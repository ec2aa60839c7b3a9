"""Fetches the newest stored records of a conversation, or all; with a snapshot, only the new ones are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from chatstash.errors import ReadOnlyToken, RequestTooLarge
from chatstash.history.cache.snapshot import Revalidation, Snapshot, take_snapshot
from chatstash.history.records.places import Place, places_key, places_of
from chatstash.history.steps.chunks import chunked, oldest_first, stored_records
from chatstash.history.steps.replies import checked_reply
from chatstash.history.steps.requests import list_command
from chatstash.history.values.options import Options
from chatstash.history.values.selection import Window
from chatstash.rest.commands import Batch, Command, Effect, Reply
from chatstash.rest.ops import Op, send


class Fetched(NamedTuple):
    """Stored records.

    Attributes:
        stored: The newest records, or all, oldest first.
        length: How many records the conversation has.
        first: The oldest record of the conversation, if it was asked for and there is one.
        known: The newest records that are known, perhaps more than were asked for; for the cache.
        revalidated: Whether a snapshot was valid and only newer records were fetched.
        places: The noted places of batches; empty unless a window was asked for.
    """

    stored: Sequence[bytes]
    length: int
    first: bytes | None
    known: Sequence[bytes]
    revalidated: bool = False
    places: Mapping[str, Place] = MappingProxyType({})

    def snapshot(self, previous: Snapshot | None) -> Snapshot | None:
        """Return the snapshot of these records, given the cached one; None where none can be revalidated."""
        return take_snapshot(self.known, self.length, previous)

    def __repr__(self) -> str:
        return f"Fetched({len(self.stored)} of {self.length} records)"


def fetch(key: str, window: Window | None, options: Options, snapshot: Snapshot | None = None) -> Op[Fetched]:
    """Fetch the newest records, a few more than the window has, or all.

    One request: one command for all, three for a window. With a snapshot that is worth revalidating, three for
    all, four for a window. One command more to keep the system message, and to refresh the ttl. One request more where
    the snapshot is stale, and a few where the reply would be over the server's limit.
    """
    if snapshot is not None and (revalidation := snapshot.revalidation(None if window is None else window.fetch_count)):
        merged = yield from _revalidate(key, revalidation, window, options)
        if merged is not None:
            return merged
    return (yield from _fetch_all(key, options) if window is None else _fetch_newest(key, window, options))


def _fetch_all(key: str, options: Options) -> Op[Fetched]:
    records = yield from stored_records(key, options.ttl_on_read, options.max_request_bytes)
    return Fetched(records, len(records), None, records)


def _fetch_newest(key: str, window: Window, options: Options) -> Op[Fetched]:
    noting = _noted_places(key, window, options)
    more: tuple[Command, ...] = (("LLEN", key), *_oldest(key, window), *noting)
    effect = _effect(options)
    asked: Command = ("LRANGE", key, 0, window.fetch_count - 1)
    try:
        replies = yield from list_command(key, asked, options.ttl_on_read, effect, more=more)
    except RequestTooLarge as error:
        chunks = yield from chunked(
            key, error, options.max_request_bytes, window.fetch_count, with_oldest=window.keep_system
        )
        noted = (yield from send(Batch(noting))).values if noting else (None,)
        # Others may have appended during the read: the newest count.
        records = chunks.records[-window.fetch_count :]
        return Fetched(records, chunks.length, chunks.oldest, records, places=places_of(noted[0]))
    stored = oldest_first(replies.values[0])
    length = max(checked_reply(int, replies.values[1], effect), len(stored))
    first = _first_of(replies.values[2], effect) if window.keep_system else None
    places = places_of(replies.values[len(more)]) if noting else {}
    return Fetched(stored, length, first, stored, places=places)


def _revalidate(key: str, revalidation: Revalidation, window: Window | None, options: Options) -> Op[Fetched | None]:
    """Fetch the newer records and merge them into the snapshot; None where it is stale."""
    noting = _noted_places(key, window, options)
    more: tuple[Command, ...] = (("LLEN", key), ("LINDEX", key, revalidation.far), *_oldest(key, window), *noting)
    effect = _effect(options)
    asked: Command = ("LRANGE", key, 0, revalidation.count - 1)
    try:
        replies = yield from list_command(key, asked, options.ttl_on_read, effect, more=more, atomic=True)
    except (RequestTooLarge, ReadOnlyToken):
        # Upstash does not say whether a read-only token may send a transaction of reads; reading all needs none.
        return None
    newest, length = oldest_first(replies.values[0]), checked_reply(int, replies.values[1], effect)
    merged = revalidation.merge(newest, length, replies.values[2])
    if merged is None:
        return None
    if window is None:
        return Fetched(merged, length, None, merged, revalidated=True)
    first = _first_of(replies.values[3], effect) if window.keep_system else None
    places = places_of(replies.values[len(more)]) if noting else {}
    return Fetched(merged[-window.fetch_count :], length, first, merged, revalidated=True, places=places)


def _first_of(reply: Reply, effect: Effect) -> bytes | None:
    return None if reply is None else checked_reply(bytes, reply, effect)


def _oldest(key: str, window: Window | None) -> tuple[Command, ...]:
    return (("LINDEX", key, -1),) if window is not None and window.keep_system else ()


def _noted_places(key: str, window: Window | None, options: Options) -> tuple[Command, ...]:
    """Return the command for the noted places of batches; a window over all records does not need them."""
    most = options.max_stored_messages
    return () if window is None or (most is not None and window.last >= most) else (("GET", places_key(key)),)


def _effect(options: Options) -> Effect:
    return Effect.READ if options.ttl_on_read is None else Effect.IDEMPOTENT
