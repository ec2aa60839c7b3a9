"""Sets an expiry, and lists a session, only where the key holds a list: never on what another program stored there.

A transaction runs EXPIRE even where the list command before it is refused because the key holds another type. So a
request has both only if this process lately saw that the key holds a list or nothing. An ordinary turn did: it reads
before it appends. Otherwise a script runs EXPIRE after the other commands have succeeded, for one command more.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TypeVar

from chatstash.errors import Applied, CommandRejected, DatabaseError, ReadOnlyToken, WrongType
from chatstash.history.scripts.loading import call
from chatstash.history.steps.recent import RecentKeys
from chatstash.history.steps.replies import checked_reply, refused_within
from chatstash.rest.commands import Batch, Command, Replies, Reply
from chatstash.rest.ops import Op, intercept, send

T = TypeVar("T")

_COUNT_INDEX = 0

_MOST_ARGUMENTS = 4000
"""How many arguments of one command a script can unpack at once, with room to spare."""


def lists_only(op: Op[T], key: str, seen: RecentKeys) -> Op[T]:
    """Run an operation on a conversation; what goes with a list command takes effect only if the key holds a list."""
    return intercept(op, partial(_answered_and_noted, key=key, seen=seen))


def _answered_and_noted(batch: Batch, key: str, seen: RecentKeys) -> Op[Replies]:
    """Answer a batch, and note whether the key holds a list; an error other than `WrongType` does not tell."""
    try:
        if key not in seen and _writes_beside_list(batch.commands, key):
            replies = yield from _on_list_only(batch, key)
        else:
            replies = yield batch
    except WrongType:
        seen.discard(key)
        raise
    first = replies.values[0]
    if isinstance(first, WrongType):
        seen.discard(key)
    elif not isinstance(first, DatabaseError) and _is_on_list(batch.commands[0], key):
        seen.add(key)
    return replies


def _writes_beside_list(commands: tuple[Command, ...], key: str) -> bool:
    """Tell whether commands change something beside what the first, a list command, does."""
    first, *others = commands
    return first[0] in _LIST_COMMANDS and first[1] == key and any(command[0] not in _READING for command in others)


def _is_on_list(command: Command, key: str) -> bool:
    """Tell whether the database refuses a command where the key holds another type than a list."""
    if command[0] in ("EVAL", "EVAL_RO"):
        # Every script that reads or appends runs a list command on its first key.
        return command[3:4] == (key,)
    return command[0] in _LIST_COMMANDS and command[1] == key


_LIST_COMMANDS = {"LINDEX", "LLEN", "LPUSH", "LRANGE"}
_READING = {"GET", "LINDEX", "LLEN", "LRANGE"}


def _on_list_only(batch: Batch, key: str) -> Op[Replies]:
    if max(map(len, batch.commands)) <= _MOST_ARGUMENTS:
        # The token may not run scripts, or the server may have none.
        with contextlib.suppress(CommandRejected, ReadOnlyToken):
            return (yield from _by_script(batch, key))
    yield from send(Batch((("LLEN", key),)))
    return (yield from send(batch))


def _by_script(batch: Batch, key: str) -> Op[Replies]:
    keys = list(dict.fromkeys([key, *(str(command[1]) for command in batch.commands)]))
    words = [word for name, on, *rest in batch.commands for word in (name, keys.index(str(on)) + 1, len(rest), *rest)]
    script = Batch(
        (call("with_expiry", keys, *words),), effect=batch.effect, settlement=batch.settlement,
        command_count_index=_COUNT_INDEX, script_commands=len(batch.commands),
    )  # fmt: skip
    try:
        replies = yield from send(script)
    except WrongType as error:
        # Whether or not the script ran, it set no expiry.
        error.applied = Applied.NO
        raise
    return replies if replies.settled else replies._replace(values=_values(batch, replies.values[0]))


def _values(batch: Batch, answer: Reply) -> tuple[Reply, ...]:
    _, refused, replies = checked_reply(list, answer, batch.effect)
    values = list(checked_reply(list, replies, batch.effect))
    for place in checked_reply(list, refused, batch.effect):
        at = checked_reply(int, place, batch.effect)
        values[at] = refused_within(str(batch.commands[at][0]), checked_reply(bytes, values[at], batch.effect))
    return tuple(values)
