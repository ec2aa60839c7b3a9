"""Which faults hit which append, as the server sees it."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatstash.history.steps import duplicates
from chatstash.local import Fault, LocalUpstash

UNHARMED = b"-- no fault\n"
"""What a script begins with that no fault hits: those of the harness itself."""

_IDENTITY = re.compile(rb"<(\d+)/(\d+)/\d+>")


@dataclass
class Watch:
    """Counts, for each append, its requests and the faults that hit them; and the duplicates that readers removed."""

    requests: dict[tuple[int, int], list[tuple[str, list[str]]]] = field(default_factory=lambda: defaultdict(list))
    others: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    removed: int = 0

    @contextlib.contextmanager
    def over(self, upstash: LocalUpstash) -> Iterator[None]:
        """Watch a server for a while."""
        faults, counts = upstash.faults, duplicates.checked_counts
        pick = faults.pick

        def watched(commands: Sequence[Any]) -> list[Fault]:
            if len(commands[0]) > 1 and _bytes(commands[0][1]).startswith(UNHARMED):
                return []
            picked = pick(commands)
            self._note(commands, [_name(fault) for fault in picked])
            return picked

        def counted(answer: Any, count: int, effect: Any) -> Any:
            self.removed += answer[0]
            return counts(answer, count, effect)

        faults.pick = watched  # type: ignore[method-assign]
        duplicates.checked_counts = counted  # type: ignore[attr-defined]
        try:
            yield
        finally:
            faults.__dict__.pop("pick", None)
            duplicates.checked_counts = counts  # type: ignore[attr-defined]

    def _note(self, commands: Sequence[Any], kinds: list[str]) -> None:
        name = _bytes(commands[0][0]).decode()
        self.looks += name == "EVAL" and b"chatstash:duplicate" in _bytes(commands[0][1])
        # A record is among the last two words of a command that has any: scripts have one more argument.
        words = (word for command in commands for word in command[-2:])
        found = _IDENTITY.search(b" ".join(_bytes(word)[:200] for word in words))
        if found:
            self.requests[int(found[1]), int(found[2])].append((name, kinds))
        else:
            self.others.update(kinds)


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _name(fault: Fault) -> str:
    held = ", held" if fault.held else ""
    return f"{fault.kind}, applied" if fault.applied else f"{fault.kind}{held}"
