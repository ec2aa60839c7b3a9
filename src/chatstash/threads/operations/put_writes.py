"""Stores the writes of one task."""

from __future__ import annotations

from typing import NamedTuple

from chatstash.rest.commands import Batch, Command
from chatstash.rest.ops import Op, send
from chatstash.threads.header import WritesText, loaded_writes
from chatstash.threads.layout import AFTER, Place, ThreadKeys, WritesName, escaped
from chatstash.threads.operations.put import stored_apart
from chatstash.threads.operations.read import read_text
from chatstash.threads.operations.requests import batches_of, flat, read_fields, scored, write
from chatstash.threads.threads import Threads


class TaskWrites(NamedTuple):
    """The writes of a task.

    Attributes:
        place: The checkpoint at which the task runs.
        task_id: The task.
        text: The writes. Special ones have a negative number.
        user_id: The user whose index shall name the thread.
    """

    place: Place
    task_id: str
    text: WritesText
    user_id: str | None = None


def put_writes(threads: Threads, keys: ThreadKeys, task: TaskWrites) -> Op[None]:
    """Store the writes of a task; one request and two commands, two more with a ttl.

    Ordinary writes are stored once: a write that is stored already stays as it is. Special ones replace an earlier one.
    Both in one call take one more command. More requests for writes over the size of a request.
    """
    path = task.text.task_path
    ordinary = tuple(entry for entry in task.text.writes if entry.number >= 0)
    special = {entry.number: entry for entry in task.text.writes if entry.number < 0}
    fields: dict[str, str] = {}
    added = _stored(threads, task, WritesText(path, ordinary), f"n{ordinary[0].number}", fields) if ordinary else {}
    replaced: dict[str, str] = {}
    for number, entry in special.items():
        replaced |= _stored(threads, task, WritesText(path, (entry,)), f"s{number}", fields)
    yield from _store_parts(threads, keys, fields)
    if not task.text.writes:
        return
    commands = _commands(keys, added, replaced)
    is_due = threads.index.is_due(keys, task.user_id)
    noting = threads.index.noting(keys, task.user_id) if is_due else ()
    replies = yield from write(threads, keys, *commands, more=noting)
    if added and replies[0] == 0:
        yield from _complete(threads, keys, task, WritesText(path, ordinary))


def _stored(threads: Threads, task: TaskWrites, text: WritesText, kind: str, fields: dict[str, str]) -> dict[str, str]:
    """Return the field that holds writes; parts of a large text are added to `fields`."""
    return {WritesName(task.place, task.task_id, kind).member: stored_apart(threads, text.dumped(), fields)}


def _commands(keys: ThreadKeys, added: dict[str, str], replaced: dict[str, str]) -> list[Command]:
    commands: list[Command] = [("HSETNX", keys.data, member, text) for member, text in added.items()]
    if replaced:
        commands.append(("HSET", keys.data, *flat(replaced)))
    commands.append(("ZADD", keys.names, *scored((*added, *replaced))))
    return commands


def _store_parts(threads: Threads, keys: ThreadKeys, fields: dict[str, str]) -> Op[None]:
    for batch in batches_of(fields, threads.part_bytes):
        if batch:
            yield from write(threads, keys, ("HSET", keys.data, *flat(batch)))


def _complete(threads: Threads, keys: ThreadKeys, task: TaskWrites, wanted: WritesText) -> Op[None]:
    """Add the writes that an earlier call for the same task, or an earlier attempt of this one, did not store."""
    stored = yield from _stored_numbers(keys, task)
    missing = tuple(entry for entry in wanted.writes if entry.number not in stored)
    if missing:
        fields: dict[str, str] = {}
        text = WritesText(wanted.task_path, missing)
        added = _stored(threads, task, text, f"n{missing[0].number}", fields)
        yield from _store_parts(threads, keys, fields)
        yield from write(threads, keys, *_commands(keys, added, {}))


def _stored_numbers(keys: ThreadKeys, task: TaskWrites) -> Op[set[int]]:
    prefix = f"{task.place.prefix}!w!{escaped(task.task_id)}"
    found = yield from send(Batch((("ZRANGE", keys.names, f"[{prefix}!n", f"({prefix}{AFTER}", "BYLEX"),)))
    names = found.values[0]
    members = [name.decode() for name in names if isinstance(name, bytes)] if isinstance(names, list) else []
    ordinary = [member for member in members if member.startswith(f"{prefix}!n")]
    texts = yield from read_fields(keys, ordinary)
    stored: set[int] = set()
    for member, text in texts.items():
        whole = yield from read_text(keys, text)
        stored |= {entry.number for entry in loaded_writes(whole, member).writes}
    return stored
