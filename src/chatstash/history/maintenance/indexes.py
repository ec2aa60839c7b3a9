"""Brings the session indexes of a store up to date, and moves conversations under a user."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from chatstash.calls import Calls
from chatstash.errors import SessionNotFound
from chatstash.history.maintenance.scanning import Scan, running
from chatstash.history.operations import move
from chatstash.history.operations.reindex import Indexed, Outline, Outlines, index_sessions, read_outlines
from chatstash.history.operations.scan import Wanted, literal
from chatstash.history.operations.sessions import members_of
from chatstash.history.records.index import EXPIRING_INDEX, LASTING_INDEX, beginning, index_keys
from chatstash.history.records.keys import COMPANION_PREFIX, Owned, conversation_key, owned, owner_of
from chatstash.history.sessions import Sessions
from chatstash.history.steps.indexing import index_lifetime
from chatstash.history.values.sessions import MoveResult, OnProgress, ReindexResult
from chatstash.rest.commands import Cost

T = TypeVar("T")

_PER_REQUEST = 100


class _Totals:
    def __init__(self) -> None:
        self.listed = self.dropped = 0
        self.cost = Cost()

    def add(self, done: Indexed) -> None:
        self.listed += done.listed
        self.dropped += done.dropped
        self.cost += done.cost


def reindex(store: Sessions, on_progress: OnProgress | None) -> Calls[ReindexResult]:
    """List all conversations of the store that belong on an index, and take off those that are gone.

    It may be interrupted at any time and run again.
    """
    prefix = literal(store.key_prefix)
    lists = Wanted(prefix + "*", lists_only=True)
    indexes = [Wanted(literal(index) + prefix + "*") for index in (LASTING_INDEX, EXPIRING_INDEX)]
    scan = Scan(store, [lists, *indexes], on_progress)
    yield from scan.estimate()
    totals = _Totals()
    seen: set[str] = set()
    while not scan.is_over:
        keys = [key for key in (yield from scan.next_keys()) if key not in seen]
        seen.update(keys)
        yield from _index(store, _conversations(store, keys), totals)
        for owner in _owners(store, keys):
            yield from _drop_gone(store, owner, totals)
        scan.found = totals.listed
        scan.report()
    return ReindexResult(totals.listed, totals.dropped, scan.cost + totals.cost)


def _conversations(store: Sessions, keys: Iterable[str]) -> Iterator[Owned]:
    for key in keys:
        named = None if key.startswith(COMPANION_PREFIX) else owned(key, store.key_prefix)
        if named is not None and store.indexes(named):
            yield named


def _owners(store: Sessions, keys: Iterable[str]) -> Iterator[str]:
    """Yield the owners whose indexes are among keys."""
    for key in keys:
        for index in (LASTING_INDEX, EXPIRING_INDEX):
            owner = key.removeprefix(index)
            named = None if owner == key else owned(owner + "-", store.key_prefix)
            if named is not None and named.owner == owner:
                yield owner


def _index(store: Sessions, sessions: Iterable[Owned], totals: _Totals) -> Calls[None]:
    for some in _batches(sessions):
        read: Outlines = yield running(store, "reindex", read_outlines([named.key for named in some]))
        totals.cost += read.cost
        outlines = {named: read.by_key[named.key] for named in some if named.key in read.by_key}
        yield from _write(store, outlines, totals)


def _drop_gone(store: Sessions, owner: str, totals: _Totals) -> Calls[None]:
    cursor: str | None = "0"
    while cursor is not None:
        members = yield running(store, "reindex", members_of(index_keys(owner), cursor))
        totals.cost += members.cost
        cursor = members.cursor
        for some in _batches(members.session_ids):
            # An owner's key and a session id make the key.
            gone = {Owned(owner, None, session_id): None for session_id in some}
            yield from _write(store, gone, totals)


def _write(store: Sessions, sessions: Mapping[Owned, Outline | None], totals: _Totals) -> Calls[None]:
    op = index_sessions(sessions, index_lifetime(store.options.ttl), has_titles=store.has_titles)
    totals.add((yield running(store, "reindex", op, writes=True)))


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, _PER_REQUEST)):
        yield some


def adopt(store: Sessions, session_id: str, user_id: str) -> Calls[MoveResult]:
    """Move a conversation of no user to one, and its place on the index with it."""
    conversation_key(session_id, store.key_prefix)
    source = Owned(store.key_prefix, None, session_id)
    conversation_key(session_id, store.key_prefix, user_id)
    owner = owner_of(store.key_prefix, user_id)
    session = Owned(owner, user_id, session_id)
    read: Outlines = yield running(store, "adopt", read_outlines([source.key]))
    outline = read.by_key.get(source.key)
    if outline is None:
        raise SessionNotFound(session_id)
    now = time.time_ns() // 1_000_000
    title = outline.title if store.has_titles else ""
    listing = move.Listing(
        (index_keys(store.key_prefix), index_keys(owner)), index_lifetime(store.options.ttl),
        (outline.updated_ms or now) * 1000, beginning(outline.created_ms or now, title), "",
    )  # fmt: skip
    moving = move.rename(move.Move(os.urandom(12).hex(), source, session, listing))
    moved: MoveResult = yield running(store, "adopt", moving, writes=True)
    return moved._replace(cost=read.cost + moved.cost)
