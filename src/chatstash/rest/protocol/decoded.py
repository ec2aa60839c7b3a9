"""A decoded body, before errors become exceptions of this package."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias


class Failure(NamedTuple):
    """The error of one command, in the server's words."""

    text: str


Decoded: TypeAlias = tuple[Any, ...] | Failure
"""One value or failure for each command, or one failure for all of them."""
