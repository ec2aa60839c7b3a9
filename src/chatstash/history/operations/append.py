"""Appending, as operations: each workflow once, for sync and async, with no I/O of its own.

A conversation is a Redis list, newest record first. One append is one atomic request, so there is no moment at which
a turn is half stored or a key lacks its expiry. Every append is stored once, whatever is lost on the way:

- A plain one is LPUSH, in a transaction with EXPIRE where there is a ttl. If its reply is lost, its settlement appends
  only if no record of the batch is stored, and notes where they went: the first request may still arrive.
- With strict delivery, an idempotency key or bounded storage, a script sets a marker in the same step. Whatever arrives
  after that, early or late, finds the marker and does nothing.
- One that is over the size of a request is put, part by part, under keys that expire, and moved from there in one
  step (`staging`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple, TypeVar

from chatstash.errors import ConcurrentTurn, IdempotencyConflict, OutcomeUnknown, RequestTooLarge
from chatstash.history.operations.outcome import LostWrite
from chatstash.history.operations.read import Contents, entries_of
from chatstash.history.options import Options
from chatstash.history.records.encoding import canonical_json
from chatstash.history.records.identity import identity
from chatstash.history.records.keys import IN_FLIGHT_TTL, checked_idempotency_key, companion_key
from chatstash.history.records.record import Record, RecordId, record_ids_in_batch
from chatstash.history.records.sizes import fits
from chatstash.history.results import AppendResult
from chatstash.history.scripts import appending as scripts
from chatstash.history.scripts.appending import Guard
from chatstash.history.scripts.pieces import digest_of
from chatstash.history.steps import staging
from chatstash.history.steps.lists import (
    counts,
    expect,
    expiry_refused,
    not_understood,
    on_list,
    refused_within,
    run_script,
)
from chatstash.history.steps.places import places_key
from chatstash.rest.commands import Command, Effect, Reply
from chatstash.rest.ops import Op

T = TypeVar("T")

_MOST_TOLD = 1_000_000
"""Of how many bytes of others' records a turn is told: a reply over the server's limit would tell of none."""


@dataclass(frozen=True, slots=True)
class Append:
    """Records ready to be appended.

    Attributes:
        key: The conversation's key.
        texts: Their stored form, oldest first; at least one.
        record_ids: Their ids.
        options: How the conversation is written.
        idempotency_key: The caller's name for this append, or None.
        digest: SHA-256 of the records without their ids (`digest_of_records`); only with an idempotency key.
    """

    key: str
    texts: Sequence[str] = field(repr=False)
    record_ids: Sequence[RecordId]
    options: Options
    idempotency_key: str | None = None
    digest: str = ""

    @property
    def kept(self) -> scripts.Kept:
        """How long and how much of the conversation is kept."""
        return scripts.Kept(self.options.ttl, self.options.max_stored_messages)

    @property
    def batch(self) -> str:
        """What the ids of all its records begin with."""
        return self.record_ids[0].batch

    @property
    def marker(self) -> str | None:
        """The key of its marker; None for an append that sets none."""
        if self.idempotency_key is not None:
            return marker_key(self.key, self.idempotency_key)
        return companion_key("append", self.key, self.batch) if self.options.is_strict else None

    @property
    def marker_ttl(self) -> int:
        """Seconds for which its marker is kept."""
        return IN_FLIGHT_TTL if self.idempotency_key is None else self.options.idempotency_ttl


def marker_key(key: str, idempotency_key: str) -> str:
    """Return the key of the marker that an append with this idempotency key sets in the conversation at `key`."""
    return companion_key("idempotency", key, sha256(idempotency_key.encode()).hexdigest())


class _Guards(NamedTuple):
    """What must hold for an append: at first, and where it is not known whether that was applied."""

    first: tuple[Guard, ...]
    settling: tuple[Guard, ...]


class Refusal(NamedTuple):
    """What a guard said instead of letting an append through."""

    length: int
    detail: Reply


def append(wanted: Append) -> Op[AppendResult]:
    """Append records in their order, all or none.

    One request, one command, or two with a ttl; with strict delivery or an idempotency key one request, three commands,
    or four with a ttl. Bounded storage is strict, and takes one command more once there is something to trim. Over the
    size of a request: one request and three commands for each part, and one request to move them.

    Raises:
        WrongType: The key holds something else, which was left as it was.
        IdempotencyConflict: The idempotency key was used for other records.
        RecordTooLarge: One record alone is over the size of a request; nothing was sent.
        OutcomeUnknown: The reply was lost, and asking again failed until the budget was used up.
    """
    return (yield from _named(wanted, _append_once(wanted)))


def _append_once(wanted: Append) -> Op[AppendResult]:
    marked = _marking(wanted)
    done = yield from _append(wanted, _Guards(marked, marked or (scripts.not_stored(wanted.batch),)))
    return _known_before(wanted, done) if isinstance(done, Refusal) else done


def _marking(wanted: Append, *, of_turn: bool = False) -> tuple[Guard, ...]:
    """Return the guard that lets an append with a marker through once."""
    marker, value, ttl = wanted.marker, _marker_value(wanted), wanted.marker_ttl
    return () if marker is None else (scripts.first_use(marker, value, ttl, of_turn=of_turn),)


def append_unless_changed(wanted: Append, read: Contents) -> Op[AppendResult]:
    """Append records if nobody changed the conversation since it was read; one request, four commands, five with a ttl.

    One command more with a marker.

    Raises:
        ConcurrentTurn: Somebody did; has the records that are new. Nothing was appended.
        WrongType, RecordTooLarge, OutcomeUnknown: As `append`.
    """
    return (yield from _named(wanted, _append_if_unchanged(wanted, read)))


def _append_if_unchanged(wanted: Append, read: Contents) -> Op[AppendResult]:
    most_told = min(_MOST_TOLD, wanted.options.max_request_bytes // 2)
    unchanged = scripts.unchanged(read.length, len(read.newest), digest_of(b"\n".join(read.newest)), most_told)
    marked = _marking(wanted, of_turn=True)
    settling = marked or (scripts.not_stored(wanted.batch),)
    first = marked or (scripts.named(wanted.batch),)
    done = yield from _append(wanted, _Guards((*first, unchanged), (*settling, unchanged)))
    if not isinstance(done, Refusal):
        return done
    if isinstance(done.detail, bytes):
        return _known_before(wanted, done)
    raise ConcurrentTurn(wanted.key, _new_since(read, wanted.key, done))


def _new_since(read: Contents, key: str, refusal: Refusal) -> list[Record]:
    only_new, *newest_first = expect(list, refusal.detail, Effect.READ) or [None]
    stored = [expect(bytes, raw, Effect.READ) for raw in reversed(newest_first)]
    found = [entry for entry in entries_of(stored, key) if isinstance(entry, Record)]
    if only_new:
        return found
    # The script could not tell which are new.
    known = {identity(entry.raw) for entry in read.entries}
    return [record for record in found if identity(record.raw) not in known]


def _named(wanted: Append, op: Op[T]) -> Op[T]:
    """Run `op`; an outcome that is not known names the append it is of."""
    try:
        return (yield from op)
    except OutcomeUnknown as error:
        error.key, error.record_ids = wanted.key, tuple(wanted.record_ids)
        error.marker, error.digest = wanted.marker, wanted.digest
        raise


def lost_write(key: str, lost: OutcomeUnknown | str, options: Options) -> LostWrite:
    """Return the write that an error or an idempotency key stands for.

    Raises:
        ValueError: It is neither, or the error belongs to another conversation.
    """
    if isinstance(lost, str):
        return LostWrite(marker=marker_key(key, checked_idempotency_key(lost)))
    if not isinstance(lost, OutcomeUnknown):
        raise ValueError(f"check_outcome takes an idempotency key or an OutcomeUnknown, not {lost!r}")
    if lost.key != key:
        raise ValueError(
            f"this error belongs to the conversation {lost.key!r}, not to {key!r}: "
            "ask the history or session that raised it"
        )
    return _lost_append(lost, options)


def _lost_append(error: OutcomeUnknown, options: Options) -> LostWrite:
    batch = str(error.record_ids[0]).partition(".")[0] if error.record_ids else ""
    is_called_off = options.is_strict and bool(batch) and error.marker is not None
    return LostWrite(batch, error.marker, error.digest, is_called_off)


def _append(wanted: Append, guards: _Guards) -> Op[AppendResult | Refusal]:
    limit = wanted.options.max_request_bytes
    at_once = fits(wanted.key, wanted.texts, limit)
    while True:
        try:
            if at_once:
                return (yield from _append_at_once(wanted, guards))
            return (yield from _append_in_parts(wanted, guards, limit))
        except RequestTooLarge as error:
            # The server permits less than it was thought to.
            limit, at_once = staging.lower_limit(error, limit, wanted.key, wanted.texts), False


def _append_at_once(wanted: Append, guards: _Guards) -> Op[AppendResult | Refusal]:
    key, texts, kept = wanted.key, wanted.texts, wanted.kept
    if guards.first:
        settlement = scripts.appending(guards.settling, key, texts, kept)
        return (yield from _by_script(wanted, scripts.appending(guards.first, key, texts, kept), settlement))
    noting = scripts.noting_place(places_key(key))
    settlement = scripts.appending((*guards.settling, noting), key, texts, kept)
    replies = yield from on_list(key, ("LPUSH", key, *texts), kept.ttl, Effect.WRITE, settlement=settlement)
    if replies.settled:
        return _script_result(wanted, expect(list, replies.values[0], Effect.WRITE))
    return AppendResult(expect(int, replies.values[0], Effect.WRITE), list(wanted.record_ids))


def _append_in_parts(wanted: Append, guards: _Guards, limit: int) -> Op[AppendResult | Refusal]:
    staged = yield from staging.stage(wanted.key, wanted.batch, wanted.texts, limit)
    first = guards.first or (scripts.named(wanted.batch),)
    moving, settlement = (scripts.moving(each, wanted.key, staged, wanted.kept) for each in (first, guards.settling))
    return (yield from _by_script(wanted, moving, settlement))


def _by_script(wanted: Append, script: Command, settlement: Command) -> Op[AppendResult | Refusal]:
    answer = yield from run_script(wanted.key, script, Effect.WRITE, settlement, ran_at=scripts.APPEND_RAN_AT)
    return _script_result(wanted, answer)


def _script_result(wanted: Append, answer: Sequence[Reply]) -> AppendResult | Refusal:
    status, length, _ = counts(answer, 3, Effect.WRITE)
    detail = answer[3] if len(answer) > 3 else None
    if status == scripts.REFUSED:
        return Refusal(length, detail)
    if status not in (scripts.STORED, scripts.BEFORE):
        raise not_understood(f"a script answered with status {status}")
    if isinstance(detail, bytes):
        raise expiry_refused(wanted.key, refused_within("EXPIRE", detail), Effect.WRITE)
    return AppendResult(length, list(wanted.record_ids))


def _known_before(wanted: Append, refusal: Refusal) -> AppendResult:
    """Return the result of an append whose marker was set before, or raise if that was for other records."""
    held = expect(bytes, refusal.detail, Effect.WRITE).decode("ascii", "replace")
    if held.startswith(scripts.VOID):
        raise not_understood("This append was declared not stored before it was applied")
    digest, _, batch = held.partition(":")
    if digest != wanted.digest:
        raise IdempotencyConflict(wanted.key, wanted.idempotency_key or "")
    ids = record_ids_in_batch(batch, len(wanted.texts))
    return AppendResult(refusal.length, ids, repeated=ids != list(wanted.record_ids))


def digest_of_records(records: Iterable[Record]) -> str:
    """Return what two appends of equal records share, in whatever order their fields are."""
    return sha256("\n".join(canonical_json(replace(record, id=None)) for record in records).encode()).hexdigest()


def _marker_value(wanted: Append) -> str:
    return f"{wanted.digest}:{wanted.batch}"
