"""The tokens of a server and the database that each opens. Tokens are compared in constant time. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Generic, TypeVar

TOKENS_EQUAL = "two tokens are equal: use a different one for each database and permission"
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_Database = TypeVar("_Database")


def check_token(token: str, what: str = "token") -> str:
    """Return a token; raises ValueError if a header cannot hold it. The message never quotes it."""
    if not _VISIBLE_ASCII.fullmatch(token):
        raise ValueError(f"{what} must be visible ASCII without spaces, because clients send it in a header")
    return token


@dataclass(frozen=True, slots=True)
class Grant(Generic[_Database]):
    """What a token permits."""

    database: _Database
    read_only: bool = False


class Tokens(Generic[_Database]):
    """The tokens of a server, each with its grant."""

    def __init__(self) -> None:
        self._grants: list[tuple[bytes, Grant[_Database]]] = []

    def add(self, token: str, grant: Grant[_Database]) -> None:
        """Add a token; raises ValueError if it is taken."""
        if self.grant_of(token.encode()) is not None:
            raise ValueError(TOKENS_EQUAL)
        self._grants.append((_digest(token.encode()), grant))

    def grant_of(self, token: bytes) -> Grant[_Database] | None:
        """Return the grant of a token, in a time that does not depend on the tokens; None if it is unknown."""
        digest = _digest(token)
        found = None
        for known, grant in self._grants:
            if hmac.compare_digest(known, digest):
                found = grant
        return found


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
