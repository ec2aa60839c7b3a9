"""What is appended: each message names its append and its place in it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage

WRITERS = 8
SHARED, LARGE, BOUNDED = "shared", "large", "bounded"
OWN = tuple(f"session-{number}" for number in range(6))
SESSIONS = (SHARED, LARGE, BOUNDED, *OWN)
DAMAGED = (SHARED, *OWN[:3])
"""The sessions that other programs damage."""
BOUND = 40
"""How many messages the bounded session keeps."""

_TEXT = re.compile(r"<(\d+)/(\d+)/(\d+)>(?: edited (\d+);)?")


class Name(NamedTuple):
    """One message: its writer, the number of its append, and its position in that."""

    writer: int
    number: int
    position: int

    @property
    def append(self) -> tuple[int, int]:
        return self.writer, self.number


def name_of(text: str) -> tuple[Name, int] | None:
    """Return which message a text is of and how often it was edited; None for what no writer wrote."""
    found = _TEXT.match(text)
    return found and (Name(int(found[1]), int(found[2]), int(found[3])), int(found[4] or 0))


def names_of(messages: Iterable[BaseMessage]) -> list[tuple[Name, int]]:
    """Return the messages that writers wrote, in their order, and how often each was edited."""
    return [found for message in messages if (found := name_of(str(message.content)))]


@dataclass(frozen=True)
class Append:
    """One append that a writer is to make."""

    writer: int
    number: int
    session: str
    texts: tuple[str, ...]
    ttl: int | None
    key: str | None
    impatient: bool

    @property
    def identity(self) -> tuple[int, int]:
        return self.writer, self.number

    @property
    def names(self) -> list[Name]:
        return [Name(self.writer, self.number, position) for position in range(len(self.texts))]

    @property
    def messages(self) -> list[BaseMessage]:
        return [HumanMessage(text) for text in self.texts]


def planned(seed: int, appends: int, *, only_plain: bool = False) -> list[list[Append]]:
    """Return what each writer appends, in order; `only_plain` leaves out the large and the bounded session."""
    per_writer = -(-appends // WRITERS)
    return [
        [
            _planned(random.Random(f"{seed}/{writer}/{number}"), writer, number, only_plain)
            for number in range(per_writer)
        ]
        for writer in range(WRITERS)
    ]


def _planned(chances: random.Random, writer: int, number: int, only_plain: bool) -> Append:
    is_large = not only_plain and number % 200 == 20
    own = OWN[(writer + chances.randrange(3)) % len(OWN)]
    session = LARGE if is_large else chances.choice([SHARED, own, own, own if only_plain else BOUNDED])
    filler = "x" * 45_000 if is_large else ""
    texts = tuple(f"<{writer}/{number}/{position}>{filler}" for position in range(chances.randint(1, 5)))
    key = f"key-{writer}-{number}" if chances.random() < 0.25 else None
    return Append(writer, number, session, texts, chances.choice([None, 3600]), key, chances.random() < 0.05)
