"""Deletes threads, prunes them, and removes the checkpoints of runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chatstash.errors import Applied, ConversationChanged, DatabaseError
from chatstash.rest.commands import Batch, Effect, Reply
from chatstash.rest.ops import Op, send
from chatstash.threads.layout import (
    Place,
    ThreadKeys,
    WritesName,
    is_checkpoint_data,
    parsed,
)
from chatstash.threads.operations.names import Named, named, read_names
from chatstash.threads.operations.read import read_headers
from chatstash.threads.operations.requests import run_script
from chatstash.threads.retention import kept, with_ancestors
from chatstash.threads.scripts.loading import call
from chatstash.threads.threads import Threads

CHECKPOINTS_PER_READ = 200
ATTEMPTS = 5


def delete_thread(threads: Threads, keys: ThreadKeys) -> Op[bool]:
    """Delete a thread and its entries in all indexes; one request and about six commands. Tell whether it existed."""
    threads.known.forget(keys.data)
    threads.index.forget(keys)
    script = call("delete_thread", keys.both, threads.prefix, keys.thread_id)
    answer = yield from run_script(script)
    return len(answer) > 1 and answer[1] != 0


def prune(threads: Threads, keys: ThreadKeys, keep_last: int, interrupt_kind: str) -> Op[int]:
    """Keep the newest checkpoints of each namespace, and remove the others with all that only they need.

    Keeps checkpoints that wait for an answer, and ancestors from which delta channels are made. Three requests, and one
    more for each further 200 checkpoints that are kept. Tells how many checkpoints were removed.
    """
    for _ in range(ATTEMPTS):
        members = yield from read_names(keys)
        checkpoints = named(members)
        keep = yield from _kept(keys, members, checkpoints, keep_last, interrupt_kind)
        gone = [checkpoint.name.place for checkpoint in checkpoints if checkpoint.name.place not in keep]
        if not gone or (yield from _remove(keys, members, gone)):
            threads.known.forget(keys.data)
            return len(gone)
    raise _kept_changing(keys)


def remove_run(threads: Threads, run_id: str) -> Op[None]:
    """Remove the checkpoints of a run from all threads; one request, two for each thread, and one more."""
    key = threads.index.run_key(run_id)
    replies = yield from send(Batch((("SMEMBERS", key),)))
    places: dict[str, list[Place]] = {}
    for noted in _texts(replies.values[0]):
        namespace, checkpoint_id, thread_id = noted.split("!", 2)
        name = parsed(f"{namespace}!{checkpoint_id}!c!")
        places.setdefault(thread_id, []).append(name.place)
    for thread_id, of_thread in places.items():
        keys = threads.keys(thread_id)
        yield from _remove_places(threads, keys, of_thread)
    if places:
        yield from send(Batch((("DEL", key),), effect=Effect.IDEMPOTENT))


def _remove_places(threads: Threads, keys: ThreadKeys, places: Collection[Place]) -> Op[None]:
    for _ in range(ATTEMPTS):
        members = yield from read_names(keys)
        if not members or (yield from _remove(keys, members, places)):
            threads.known.forget(keys.data)
            return
    raise _kept_changing(keys)


def _remove(keys: ThreadKeys, members: Sequence[str], places: Collection[Place]) -> Op[bool]:
    """Remove checkpoints and their writes. Return False if the thread has changed since its names were read."""
    prefixes = {place.prefix for place in places}
    gone = [member for member in members if is_checkpoint_data(member) and _prefix(member) in prefixes]
    markers = [place.alive_field for place in places]
    answer = yield from run_script(call("remove", keys.both, len(members), len(gone), *gone, *gone, *markers))
    return len(answer) > 1 and answer[1] == 1


def _prefix(member: str) -> str:
    return "!".join(member.split("!", 2)[:2])


def _kept(
    keys: ThreadKeys, members: Sequence[str], checkpoints: Sequence[Named], keep_last: int, interrupt_kind: str
) -> Op[set[Place]]:
    names = [checkpoint.name for checkpoint in checkpoints]
    writes = [name for name in map(parsed, filter(is_checkpoint_data, members)) if isinstance(name, WritesName)]
    keep = kept(names, writes, keep_last=keep_last, interrupt_kind=interrupt_kind)
    needed: dict[Place, Collection[str]] = {}
    present: dict[Place, Collection[str]] = {}
    wanted = keep
    while True:
        yield from _read_channels(keys, checkpoints, wanted, needed, present)
        grown = with_ancestors(keep, names, needed, present)
        wanted = grown - present.keys()
        if not wanted:
            return grown


def _read_channels(
    keys: ThreadKeys,
    checkpoints: Sequence[Named],
    wanted: Collection[Place],
    needed: dict[Place, Collection[str]],
    present: dict[Place, Collection[str]],
) -> Op[None]:
    bare = [Named(checkpoint.name, ()) for checkpoint in checkpoints if checkpoint.name.place in wanted]
    for at in range(0, len(bare), CHECKPOINTS_PER_READ):
        some = bare[at : at + CHECKPOINTS_PER_READ]
        present.update({checkpoint.name.place: () for checkpoint in some})
        for name, text, _ in (yield from read_headers(keys, some)):
            needed[name.place] = text.header.delta_channels
            present[name.place] = text.header.channels.keys()


def _texts(reply: Reply) -> list[str]:
    if isinstance(reply, DatabaseError):
        raise reply
    return [value.decode() for value in reply if isinstance(value, bytes)] if isinstance(reply, list) else []


def _kept_changing(keys: ThreadKeys) -> ConversationChanged:
    return ConversationChanged(
        f"The thread {keys.thread_id!r} changed while it was pruned, {ATTEMPTS} times. Nothing was removed. Try again "
        "when fewer runs write to it",
        applied=Applied.NO,
    )
