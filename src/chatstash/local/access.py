"""Who may ask which database what: tokens, compared in constant time. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Generic, TypeVar

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_Database = TypeVar("_Database")


def check_token(token: str, what: str = "token") -> str:
    """Return a token; raises ValueError where no client could send it. The message never holds it."""
    if not _VISIBLE_ASCII.fullmatch(token):
        raise ValueError(f"{what} must be visible ASCII without spaces: no client could send another in a header")
    return token


@dataclass(frozen=True, slots=True)
class Grant(Generic[_Database]):
    """What a token opens."""

    database: _Database
    read_only: bool = False


class Access(Generic[_Database]):
    """The tokens of a server and what each opens."""

    def __init__(self) -> None:
        self._grants: list[tuple[bytes, Grant[_Database]]] = []

    def allow(self, token: str, grant: Grant[_Database]) -> None:
        """Let a token in; raises ValueError where another database or permission has it already."""
        if self.grant_of(token.encode()) is not None:
            raise ValueError("two tokens are the same: each database and each permission needs one of its own")
        self._grants.append((_digest(token.encode()), grant))

    def grant_of(self, token: bytes) -> Grant[_Database] | None:
        """Return what a token opens. How long it takes tells nothing of the tokens there are."""
        digest = _digest(token)
        found = None
        for known, grant in self._grants:
            if hmac.compare_digest(known, digest):
                found = grant
        return found


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
