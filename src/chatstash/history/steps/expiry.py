"""An expiry is set on a list only. Pure, but for the clock.

A transaction runs EXPIRE even where the command beside it is refused because the key holds something else. So EXPIRE
goes beside a list command only where this process has lately seen that the key holds a list or nothing, as it has in
an ordinary turn, which reads before it appends. Otherwise a script runs the commands, and EXPIRE only after they
succeeded: one command more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chatstash.errors import Applied, CommandRejected, DatabaseError, ReadOnlyToken, WrongType
from chatstash.history.steps.lists import expect, refused_within
from chatstash.rest.commands import KEY_LOCKING, Batch, Command, Replies, Reply
from chatstash.rest.ops import Op, intercept, send

T = TypeVar("T")

LATELY = 300.0
"""Seconds for which it is remembered that a key holds a list or nothing."""

_MOST_KEYS = 10_000


class SeenLists:
    """Keys of a database that were lately seen to hold a list or nothing; the first seen are forgotten first.

    Has no lock, so that whatever interrupts it may use it: each step is one operation of a dict, and between any two of
    them a key is at worst forgotten.

    Args:
        clock: Seconds on a clock that nobody sets.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def __contains__(self, key: str) -> bool:
        return self._clock() - self._seen.get(key, float("-inf")) < LATELY

    def add(self, key: str) -> None:
        """Note that the key was just seen to hold a list or nothing."""
        self._seen.pop(key, None)
        self._seen[key] = self._clock()
        if len(self._seen) > _MOST_KEYS:
            # Others may change it meanwhile.
            with contextlib.suppress(RuntimeError, StopIteration):
                self._seen.pop(next(iter(self._seen)), None)

    def discard(self, key: str) -> None:
        """Forget the key."""
        self._seen.pop(key, None)


# Each command is its name, which of the keys it is on, how many further arguments it has, and these. Answers how many
# commands it ran, the places of those that were refused, and the replies, an error's as its text. Where the first is
# refused, that is the answer, and no other is run.
_GUARDED = f"""{KEY_LOCKING}
local ran, refused, replies, at = 0, {{}}, {{}}, 1
while at <= #ARGV do
  local last = at + 2 + tonumber(ARGV[at + 2])
  local reply = redis.pcall(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, last))
  ran, at = ran + 1, last + 1
  if type(reply) == 'table' and reply.err then
    if ran == 1 then return reply end
    reply = reply.err
    table.insert(refused, ran - 1)
  end
  replies[ran] = reply
end
return {{ran, refused, replies}}
"""

_RAN_AT = 0

_MOST_ARGUMENTS = 4000
"""How many arguments of one command a script can take from a table at once, with room to spare."""


def guarding_expiry(op: Op[T], key: str, seen: SeenLists) -> Op[T]:
    """Run an operation on a list; no EXPIRE of it takes effect on what is no list."""
    return intercept(op, partial(_noted, key=key, seen=seen))


def _noted(batch: Batch, key: str, seen: SeenLists) -> Op[Replies]:
    """Answer a batch, and note what that tells of the key; an error other than `WrongType` tells nothing."""
    try:
        replies = yield from _answered(batch, key, seen)
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
    """Tell whether the database refuses a command where the key holds something else than a list."""
    name, *rest = command
    # Of the scripts that read or append, each runs a list command on its first key.
    return rest[2:3] == [key] if name in ("EVAL", "EVAL_RO") else name in _LIST_COMMANDS and rest[0] == key


_LIST_COMMANDS = {"LINDEX", "LLEN", "LPUSH", "LRANGE"}


def _answered(batch: Batch, key: str, seen: SeenLists) -> Op[Replies]:
    if key in seen or batch.commands[-1][:2] != ("EXPIRE", key):
        return (yield from send(batch))
    if max(map(len, batch.commands)) <= _MOST_ARGUMENTS:
        # A token may run no scripts, or a server have none.
        with contextlib.suppress(CommandRejected, ReadOnlyToken):
            return (yield from _by_script(batch, key))
    yield from send(Batch((("LLEN", key),)))
    return (yield from send(batch))


def _by_script(batch: Batch, key: str) -> Op[Replies]:
    keys = list(dict.fromkeys([key, *(command[1] for command in batch.commands)]))
    words = [word for name, on, *rest in batch.commands for word in (name, keys.index(on) + 1, len(rest), *rest)]
    command = ("EVAL", _GUARDED, len(keys), *keys, *words)
    script = Batch(
        (command,),
        False,
        batch.effect,
        batch.settlement,
        command_count_index=_RAN_AT,
        script_commands=len(batch.commands),
    )
    try:
        replies = yield from send(script)
    except WrongType as error:
        # Whatever became of the script: it set no expiry.
        error.applied = Applied.NO
        raise
    return replies if replies.settled else replies._replace(values=_values(batch, replies.values[0]))


def _values(batch: Batch, answer: Reply) -> tuple[Reply, ...]:
    _, refused, replies = expect(list, answer, batch.effect)
    values = list(expect(list, replies, batch.effect))
    for place in expect(list, refused, batch.effect):
        at = expect(int, place, batch.effect)
        values[at] = refused_within(str(batch.commands[at][0]), expect(bytes, values[at], batch.effect))
    return tuple(values)
