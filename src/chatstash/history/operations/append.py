"""Appends records, all or none, and once.

A conversation is a Redis list, newest record first. One append is one atomic request, so there is no moment at which
a turn is half stored or a key lacks its expiry. Every append is stored once, whatever request or reply is lost:

- A plain append is LPUSH, in a transaction with EXPIRE where there is a ttl. If its reply is lost, its settlement
  appends only if no record of the batch is stored. The settlement notes the place of the batch, because the first
  request may still arrive.
- With strict delivery, an idempotency key or bounded storage, a script sets a marker in the same step. A request that
  arrives after that finds the marker and does nothing.
- An append over the size of a request is staged, part by part, under keys that expire, and moved from there in one
  step (`staging`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace
from hashlib import sha256
from typing import NamedTuple

from chatstash.errors import (
    Applied,
    CommandRejected,
    ConcurrentTurn,
    IdempotencyConflict,
    OutcomeUnknown,
    RequestTooLarge,
)
from chatstash.frozen import dataclass
from chatstash.history.operations.contents import Contents, entries_of
from chatstash.history.records.encoding import canonical_json
from chatstash.history.records.identity import digest_of, identity
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.records.markers import Marker, marker_key, parse_marker
from chatstash.history.records.record import Record, RecordId, record_ids_in_batch
from chatstash.history.records.sizes import fits, size_of
from chatstash.history.scripts.appending import Replaced, ScriptedAppend, TurnSnapshot
from chatstash.history.scripts.constants import EARLIER, REFUSED, STORED
from chatstash.history.scripts.loading import APPEND_COUNT_INDEX
from chatstash.history.steps import staging
from chatstash.history.steps.indexing import Noting
from chatstash.history.steps.replies import checked_counts, checked_reply, refused_within, unexpected_reply
from chatstash.history.steps.requests import Along, expiry_refused, list_command, run_script
from chatstash.history.values.options import Options
from chatstash.history.values.results import AppendResult
from chatstash.rest.commands import Command, Effect, Reply
from chatstash.rest.ops import Op

_MAX_NEW_BYTES = 1_000_000
"""Maximum bytes of new records returned to a refused turn: a reply over the server's limit would be refused whole."""


_REPLACING_SCRIPT_BYTES = 6 * 1024
"""How much longer the script is that replaces the newest records."""


@dataclass(frozen=True)
class Append:
    """Records ready to be appended.

    Attributes:
        key: The conversation's key.
        texts: Their stored form, oldest first; at least one.
        record_ids: Their ids.
        options: The conversation's options.
        idempotency_key: The caller's name for this append, or None.
        digest: SHA-256 of the records without their ids (`digest_of_records`); only with an idempotency key.
        noting: What notes it on the session index, or None.
        also: Further commands that go along with it.
        replaces: The newest records, which it replaces; only for a guarded turn.
        is_hex: Whether `texts` are hexadecimal: records that are not UTF-8 cannot be sent otherwise. They are staged.
    """

    key: str
    texts: Sequence[str] = field(repr=False)
    record_ids: Sequence[RecordId]
    options: Options
    idempotency_key: str | None = None
    digest: str = ""
    noting: Noting | None = None
    also: tuple[Command, ...] = ()
    replaces: Replaced | None = None
    is_hex: bool = False

    @property
    def along(self) -> Along:
        """The commands that go along with it: those of the session index first."""
        if self.noting is None:
            return Along(self.also)
        return Along((*self.noting.commands, *self.also), self.noting.entry.removing())

    @property
    def extra_bytes(self) -> int:
        """How many bytes its request takes more than that of an append which only appends."""
        replacing = 0 if self.replaces is None else _REPLACING_SCRIPT_BYTES + size_of([self.replaces])
        return size_of(self.along.commands) + replacing

    @property
    def batch(self) -> str:
        """The common prefix of its records' ids."""
        return self.record_ids[0].batch

    @property
    def marker(self) -> Marker | None:
        """Its marker; None for an append that sets none."""
        if self.idempotency_key is not None:
            name, ttl = marker_key(self.key, self.idempotency_key), self.options.idempotency_ttl
        elif self.options.is_strict or self.replaces is not None:
            name, ttl = companion_key("append", self.key, self.batch), IN_FLIGHT_TTL
        else:
            return None
        return Marker(name, self.digest, self.batch, ttl)

    def by_script(self, snapshot: TurnSnapshot | None) -> ScriptedAppend:
        """Return it as scripts take it."""
        ttl, most = self.options.ttl, self.options.max_stored_messages
        along = self.along.commands
        return ScriptedAppend(self.key, ttl, most, self.batch, self.marker, snapshot, along, self.replaces)


def digest_of_records(records: Iterable[Record]) -> str:
    """Return the digest that appends of equal records share, in whatever order the fields of the records are."""
    return sha256("\n".join(canonical_json(replace(record, id=None)) for record in records).encode()).hexdigest()


class Refusal(NamedTuple):
    """A script's refusal to append.

    Attributes:
        length: How many records the conversation has.
        detail: The marker's value, or the list of new records.
    """

    length: int
    detail: Reply


def append(wanted: Append) -> Op[AppendResult]:
    """Append records in their order, all or none; costs and errors as `Session.append`."""
    with Identifying(wanted):
        done = yield from append_or_refuse(wanted, None)
        return (yield from _applied_before(wanted, done)) if isinstance(done, Refusal) else done


def append_unless_changed(wanted: Append, read: Contents) -> Op[AppendResult]:
    """Append records if nobody changed the conversation since it was read, or raise ConcurrentTurn."""
    max_new_bytes = min(_MAX_NEW_BYTES, wanted.options.max_request_bytes // 2)
    snapshot = TurnSnapshot(read.length, len(read.newest), digest_of(b"\n".join(read.newest)), max_new_bytes)
    with Identifying(wanted):
        done = yield from append_or_refuse(wanted, snapshot)
        if not isinstance(done, Refusal):
            return done
        if isinstance(done.detail, bytes):
            return (yield from _applied_before(wanted, done))
        raise ConcurrentTurn(wanted.key, _new_since(read, wanted.key, done.detail))


def _new_since(read: Contents, key: str, news: Reply) -> list[Record]:
    only_new, *newest_first = checked_reply(list, news, Effect.READ) or [None]
    stored = [checked_reply(bytes, raw, Effect.READ) for raw in reversed(newest_first)]
    found = [entry for entry in entries_of(stored, key) if isinstance(entry, Record)]
    if only_new:
        return found
    # The script could not tell which are new.
    before = {identity(entry.raw) for entry in read.entries}
    return [record for record in found if identity(record.raw) not in before]


class Identifying:
    """Adds the key, ids and marker of an append to an `OutcomeUnknown` that is raised within. A context manager."""

    __slots__ = ("_wanted",)

    def __init__(self, wanted: Append) -> None:
        self._wanted = wanted

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OutcomeUnknown):
            wanted, marker = self._wanted, self._wanted.marker
            error.key, error.record_ids = wanted.key, tuple(wanted.record_ids)
            error.marker, error.digest = None if marker is None else marker.key, wanted.digest


def append_or_refuse(wanted: Append, snapshot: TurnSnapshot | None) -> Op[AppendResult | Refusal]:
    """Append records, or return the refusal of the script: the marker is set, or the snapshot is outdated."""
    limit = wanted.options.max_request_bytes - wanted.extra_bytes
    at_once = not wanted.is_hex and fits(wanted.key, wanted.texts, limit)
    while True:
        try:
            if at_once:
                return (yield from _append_at_once(wanted, snapshot))
            return (yield from _append_in_parts(wanted, snapshot, limit))
        except RequestTooLarge as error:
            # The server permits less than expected.
            limit, at_once = staging.lower_limit(error, limit, wanted.key, wanted.texts), False


def _append_at_once(wanted: Append, snapshot: TurnSnapshot | None) -> Op[AppendResult | Refusal]:
    if wanted.marker is None and snapshot is None:
        return (yield from _append_by_command(wanted))
    return (yield from _append_by_script(wanted, snapshot, lambda script: script.of_records(wanted.texts)))


def _append_by_command(wanted: Append) -> Op[AppendResult | Refusal]:
    key, texts, ttl = wanted.key, wanted.texts, wanted.options.ttl
    along = wanted.along
    try:
        replies = yield from list_command(
            key, ("LPUSH", key, *texts), ttl, Effect.WRITE,
            settlement=lambda: wanted.by_script(None).of_records(texts), along=along,
        )  # fmt: skip
    except CommandRejected as error:
        if wanted.noting is None or error.applied is not Applied.NO:
            raise
        # In a transaction, a command of the index that the server lacks refuses all.
        return (yield from _append_without_index(wanted, wanted.noting, error))
    if replies.settled:
        return (yield from _script_result(wanted, checked_reply(list, replies.values[0], Effect.WRITE)))
    length = checked_reply(int, replies.values[0], Effect.WRITE)
    return (yield from _stored(wanted, length, replies.values[1 : 1 + len(along.commands)]))


def _append_without_index(wanted: Append, noting: Noting, error: CommandRejected) -> Op[AppendResult | Refusal]:
    done = yield from _append_by_command(replace(wanted, noting=None))
    noting.note_failure(error)
    return done if isinstance(done, Refusal) else done._replace(indexed=False)


def _append_in_parts(wanted: Append, snapshot: TurnSnapshot | None, limit: int) -> Op[AppendResult | Refusal]:
    stage = staging.stage_hex if wanted.is_hex else staging.stage
    staged = yield from stage(wanted.key, wanted.batch, wanted.texts, limit)
    return (yield from _append_by_script(wanted, snapshot, lambda script: script.of_parts(staged)))


def _append_by_script(
    wanted: Append, snapshot: TurnSnapshot | None, call: Callable[[ScriptedAppend], Command]
) -> Op[AppendResult | Refusal]:
    first = wanted.by_script(snapshot)
    settlement = replace(first, is_settlement=True)
    answer = yield from run_script(
        wanted.key, call(first), Effect.WRITE, lambda: call(settlement), count_index=APPEND_COUNT_INDEX
    )
    return (yield from _script_result(wanted, answer))


def _script_result(wanted: Append, answer: Sequence[Reply]) -> Op[AppendResult | Refusal]:
    status, length, _ = checked_counts(answer, 3, Effect.WRITE)
    detail = answer[3] if len(answer) > 3 else None
    if status == REFUSED:
        return Refusal(length, detail)
    if status not in (STORED, EARLIER):
        raise unexpected_reply(f"a script answered with status {status}")
    if isinstance(detail, bytes):
        raise expiry_refused(wanted.key, refused_within("EXPIRE", detail), Effect.WRITE)
    if status == EARLIER:
        return (yield from stored_before(wanted, length))
    return (yield from _stored(wanted, length, replies_along(wanted, answer[4:5])))


def replies_along(wanted: Append, listed: Sequence[Reply]) -> list[Reply]:
    """Return the replies to the commands that a script ran along with the append."""
    if not wanted.along.commands:
        return []
    replies = checked_reply(list, listed[0] if listed else None, Effect.WRITE)
    return [
        refused_within(str(command[0]), reply) if isinstance(reply, bytes) else reply
        for command, reply in zip(wanted.along.commands, replies, strict=True)
    ]


def _stored(wanted: Append, length: int, replies: Sequence[Reply]) -> Op[AppendResult]:
    """Return the result of an append, given the replies to the commands that went along with it."""
    noting = wanted.noting
    indexed = None if noting is None else (yield from noting.finish(replies[: len(noting.commands)]))
    return AppendResult(length, list(wanted.record_ids), indexed=indexed)


def stored_before(wanted: Append, length: int) -> Op[AppendResult]:
    """Return the result of an append that an earlier request stored, whose reply was lost."""
    noting = wanted.noting
    indexed = None if noting is None else (yield from noting.finish_unseen())
    return AppendResult(length, list(wanted.record_ids), indexed=indexed)


def _applied_before(wanted: Append, refusal: Refusal) -> Op[AppendResult]:
    """Return the result of an append whose marker was set before, or raise if that was for other records."""
    held = parse_marker(checked_reply(bytes, refusal.detail, Effect.WRITE))
    if held.is_cancelled:
        raise unexpected_reply("This append was declared not stored before it was applied")
    if held.digest != wanted.digest:
        raise IdempotencyConflict(wanted.key, wanted.idempotency_key or "")
    if held.batch == wanted.batch:
        return (yield from stored_before(wanted, refusal.length))
    return AppendResult(refusal.length, record_ids_in_batch(held.batch, len(wanted.texts)), repeated=True)
