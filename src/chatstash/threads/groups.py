"""Splits lists and dicts into groups of elements, so that only new elements are stored again. Pure.

A group is a slice of the value. An element of 128 bytes or more is a group of its own. Smaller ones share a group, so a
list of numbers does not become a field for each number. Where a group of small elements ends depends only on its
elements, so elements that are inserted or removed change the groups around them, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from chatstash.frozen import dataclass

OWN_GROUP_BYTES = 128
_CUT_MASK = 0x1F
"""A group of small elements ends after one element in 32, which its digest chooses, and at 128 bytes."""


class Dumped(NamedTuple):
    """A serialised value: the name of its format, and its bytes, before any encryption."""

    format: str
    data: bytes

    @property
    def digest(self) -> bytes:
        """16 bytes that stand for the value within this process."""
        return blake2b(self.data, digest_size=16, person=self.format.encode()[:16]).digest()


Dump = Callable[[Any], Dumped]


@dataclass(frozen=True)
class Split:
    """A value in groups.

    Attributes:
        kind: `l` for a list, `d` for a dict, `v` for any other value, which is one group, `n` for None, which has none.
        groups: The groups: slices of the list or dict.
    """

    kind: str
    groups: tuple[Dumped, ...] = ()


def split(value: Any, dump: Dump) -> Split:
    """Return a value in groups. Only exact lists and dicts are split: others may have state of their own."""
    if value is None:
        return Split("n")
    if type(value) is list:
        return Split("l", tuple(_groups([[element] for element in value], _joined_lists, dump)))
    if type(value) is dict:
        return Split("d", tuple(_groups([{key: entry} for key, entry in value.items()], _joined_dicts, dump)))
    return Split("v", (dump(value),))


def joined(kind: str, groups: Sequence[Any]) -> Any:
    """Return the value of which these are the groups, each as loaded."""
    match kind:
        case "n":
            return None
        case "l":
            return _joined_lists(groups)
        case "d":
            return _joined_dicts(groups)
        case _:
            return groups[0]


def _groups(slices: Sequence[Any], join: Callable[[Sequence[Any]], Any], dump: Dump) -> Iterator[Dumped]:
    small: list[Any] = []
    size = 0
    for one in slices:
        dumped = dump(one)
        if len(dumped.data) >= OWN_GROUP_BYTES:
            if small:
                yield dump(join(small))
            yield dumped
            small, size = [], 0
            continue
        small.append(one)
        size += len(dumped.data)
        if size >= OWN_GROUP_BYTES or dumped.digest[0] & _CUT_MASK == 0:
            yield dump(join(small))
            small, size = [], 0
    if small:
        yield dump(join(small))


def _joined_lists(groups: Sequence[list[Any]]) -> list[Any]:
    return [element for group in groups for element in group]


def _joined_dicts(groups: Sequence[dict[Any, Any]]) -> dict[Any, Any]:
    return {key: entry for group in groups for key, entry in group.items()}
