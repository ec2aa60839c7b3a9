"""Sets an expiry only on lists, never on what another program stored at the key.

A transaction runs EXPIRE even where the list command before it is refused because the key holds another type. So a
request has both only if this process lately saw that the key holds a list or nothing. An ordinary turn did: it reads
before it appends. Otherwise a script runs EXPIRE after the other commands have succeeded, for one command more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chatstash.errors import Applied, CommandRejected, DatabaseError, ReadOnlyToken, WrongType
from chatstash.history.scripts.loading import call
from chatstash.history.steps.replies import checked_reply, refused_within
from chatstash.rest.commands import Batch, Command, Replies, Reply
from chatstash.rest.ops import Op, intercept, send

T = TypeVar("T")

LATELY = 300.0
"""Seconds for which a key that held a list or nothing is taken to still hold one."""

_MOST_KEYS = 10_000


class SeenLists:
    """Keys of a database that lately held a list or nothing; the oldest are forgotten first.

    Has no lock, so that a signal handler may use it: each step is one operation of a dict, and between any two of them
    a key is at worst forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def __contains__(self, key: str) -> bool:
        return self._clock() - self._seen.get(key, float("-inf")) < LATELY

    def add(self, key: str) -> None:
        """Note that the key holds a list or nothing."""
        self._seen.pop(key, None)
        self._seen[key] = self._clock()
        if len(self._seen) > _MOST_KEYS:
            # Other threads may change it at the same time.
            with contextlib.suppress(RuntimeError, StopIteration):
                self._seen.pop(next(iter(self._seen)), None)

    def discard(self, key: str) -> None:
        """Forget the key."""
        self._seen.pop(key, None)


_COUNT_INDEX = 0

_MOST_ARGUMENTS = 4000
"""How many arguments of one command a script can unpack at once, with room to spare."""


def expiring_lists_only(op: Op[T], key: str, seen: SeenLists) -> Op[T]:
    """Run an operation on a conversation; its EXPIRE takes effect only if the key holds a list."""
    return intercept(op, partial(_answered_and_noted, key=key, seen=seen))


def _answered_and_noted(batch: Batch, key: str, seen: SeenLists) -> Op[Replies]:
    """Answer a batch, and note whether the key holds a list; an error other than `WrongType` does not tell."""
    try:
        if key in seen or batch.commands[-1][:2] != ("EXPIRE", key):
            replies = yield batch
        else:
            replies = yield from _on_list_only(batch, key)
    except WrongType:
        seen.discard(key)
        raise
    first = replies.values[0]
    if isinstance(first, WrongType):
        seen.discard(key)
    elif not isinstance(first, DatabaseError) and _is_on_list(batch.commands[0], key):
        seen.add(key)
    return replies


def _is_on_list(command: Command, key: str) -> bool:
    """Tell whether the database refuses a command where the key holds another type than a list."""
    if command[0] in ("EVAL", "EVAL_RO"):
        # Every script that reads or appends runs a list command on its first key.
        return command[3:4] == (key,)
    return command[0] in _LIST_COMMANDS and command[1] == key


_LIST_COMMANDS = {"LINDEX", "LLEN", "LPUSH", "LRANGE"}


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
