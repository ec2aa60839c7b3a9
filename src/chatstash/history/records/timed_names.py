"""Names that tell when they were made: of alternatives, and of the writers of drafts.

A name begins with the time in microseconds since the epoch, 13 hexadecimal digits, so that names sort by time. It ends
with a random part.
"""

from __future__ import annotations

import os
import re
import time

_NAME = re.compile(r"[0-9a-f]{13}-[0-9a-f]{8}")


def new_name() -> str:
    """Return a new name, made now."""
    return f"{time.time_ns() // 1000:013x}-{os.urandom(4).hex()}"


def time_of(name: str) -> int:
    """Return when a name was made, in milliseconds since the epoch."""
    return int(name.partition("-")[0], 16) // 1000


def is_name(name: str) -> bool:
    """Tell whether it is such a name."""
    return _NAME.fullmatch(name) is not None
