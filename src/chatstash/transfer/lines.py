"""The lines that are imported, with their numbers, from any source."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import NamedTuple, TypeAlias

Lines: TypeAlias = Iterable[str | bytes]
AsyncLines: TypeAlias = AsyncIterable[str | bytes] | Lines
_BYTE_ORDER_MARK = "\ufeff"


class NumberedLine(NamedTuple):
    """A line.

    Attributes:
        number: Its number, from 1.
        text: Its text without its end; None if it is not UTF-8.
    """

    number: int
    text: str | None


class LineSource:
    """Yields lines one by one, without empty ones.

    Args:
        lines: The lines: of an open file, of a list, or of an export that streams.

    Raises:
        ValueError: It is no iterable of lines.
    """

    def __init__(self, lines: AsyncLines) -> None:
        if isinstance(lines, (str, bytes)) or not isinstance(lines, (Iterable, AsyncIterable)):
            hint = "; split a text with text.split('\\n')" if isinstance(lines, (str, bytes)) else ""
            raise ValueError(
                f"lines must be an iterable of lines, such as an open file, not a {type(lines).__name__}{hint}"
            )
        self._lines = lines
        self._iterator: Iterator[str | bytes] | AsyncIterator[str | bytes] | None = None
        self._number = 0

    def next_line(self) -> NumberedLine | None:
        """Return the next line; None after the last."""
        if not isinstance(self._lines, Iterable):
            raise ValueError("lines is an asynchronous iterable: use aimport_jsonl")
        if self._iterator is None:
            self._iterator = iter(self._lines)
        for line in self._iterator:  # type: ignore[union-attr]
            if (numbered := self._numbered(line)) is not None:
                return numbered
        return None

    async def anext_line(self) -> NumberedLine | None:
        """Return the next line as `next_line` does, also of an asynchronous iterable."""
        if isinstance(self._lines, Iterable):
            return self.next_line()
        if self._iterator is None:
            self._iterator = aiter(self._lines)
        async for line in self._iterator:  # type: ignore[union-attr]
            if (numbered := self._numbered(line)) is not None:
                return numbered
        return None

    def _numbered(self, line: str | bytes) -> NumberedLine | None:
        self._number += 1
        if not isinstance(line, (str, bytes)):
            raise ValueError(f"line {self._number} is a {type(line).__name__}, not text")
        try:
            text = line.decode() if isinstance(line, bytes) else line
        except UnicodeDecodeError:
            return NumberedLine(self._number, None)
        text = text.removeprefix(_BYTE_ORDER_MARK) if self._number == 1 else text
        return NumberedLine(self._number, text.strip()) if text.strip() else None
