"""The identity of a stored record: equal for duplicates of one message, even after an edit.

A record with an id keeps its identity when its content is edited or when it carries a generation. Records of other
libraries have no id: two of them are the same only if their bytes are equal.

Scripts have the same definition, in `scripts/include/identity.lua`.
"""

from __future__ import annotations

import re
from hashlib import sha1

# The comma before the name matters: without it, a longer name that ends in an escaped `"rid` would match.
_ENDS_WITH_ID = re.compile(
    rb',"rid":"([A-Za-z0-9_-]{16}\.[0-9]{1,9}/[0-9]{1,9})"(?:,"stand_in":true)?(?:,"g":[0-9]{1,9})?\}\Z'
)
_LONGEST_END = 80
"""How many bytes from the end are searched; the longest possible match has 76."""


def identity(raw: bytes) -> bytes:
    """Return the text of a stored record's id, or all its bytes where it does not end as chatstash writes it.

    The id must be the last top-level field, except for `stand_in` and the generation. An id anywhere else, such as in a
    message's text or in `additional_kwargs`, was written by others and does not count.
    """
    match = _ENDS_WITH_ID.search(raw[-_LONGEST_END:]) if raw.startswith(b"{") else None
    return raw if match is None else match[1]


def has_id(raw: bytes) -> bool:
    """Tell whether a stored record's identity is its id."""
    return raw.startswith(b"{") and _ENDS_WITH_ID.search(raw[-_LONGEST_END:]) is not None


def digest_of(raw: bytes) -> str:
    """Return the SHA-1 of a record or its identity, hexadecimal, as `redis.sha1hex` does; it protects nothing."""
    return sha1(raw, usedforsecurity=False).hexdigest()
