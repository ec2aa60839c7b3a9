"""Lists the names of checkpoints and writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chatstash.rest.ops import Op
from chatstash.threads.layout import CheckpointName, Place, ThreadKeys, WritesName, is_checkpoint_data, parsed
from chatstash.threads.operations.requests import read_range

NAMES_PER_READ = 5000


class Named(NamedTuple):
    """A checkpoint and the names of its writes."""

    name: CheckpointName
    writes: Sequence[WritesName]


def read_names(keys: ThreadKeys, wanted: tuple[str, str] = ("+", "-")) -> Op[list[str]]:
    """Return the members in a range of a thread, last first; one request and two commands for each 5,000."""
    members: list[str] = []
    end, start = wanted
    while True:
        some = yield from _read(keys, end, start, NAMES_PER_READ)
        members += some
        if len(some) < NAMES_PER_READ:
            return members
        end = f"({some[-1]}"


def read_named(keys: ThreadKeys, wanted: tuple[str, str], count: int) -> Op[tuple[list[Named], str | None]]:
    """Return the first checkpoints in a range of a namespace, newest first, and where to go on; None after the last.

    One request and two commands. Reads about `count` members, and more if so many do not name a whole checkpoint.
    """
    end, start = wanted
    while True:
        members = yield from _read(keys, end, start, count)
        if len(members) < count:
            return named(members), None
        # The checkpoint's own name comes after those of its writes.
        last = next(
            (at for at in reversed(range(len(members))) if isinstance(parsed(members[at]), CheckpointName)), None
        )
        if last is not None:
            return named(members[: last + 1]), f"({members[last]}"
        count *= 4


def _read(keys: ThreadKeys, end: str, start: str, count: int) -> Op[list[str]]:
    return (yield from read_range(keys.names, end, start, "BYLEX", "REV", "LIMIT", 0, count))


def named(members: Iterable[str]) -> list[Named]:
    """Return the checkpoints among members, in their order, with their writes."""
    names = [parsed(member) for member in members if is_checkpoint_data(member)]
    writes: dict[Place, list[WritesName]] = {}
    for name in names:
        if isinstance(name, WritesName):
            writes.setdefault(name.place, []).append(name)
    return [Named(name, writes.get(name.place, [])) for name in names if isinstance(name, CheckpointName)]
