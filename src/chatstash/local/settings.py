"""The validated options of a local server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chatstash.local.database import Limits
from chatstash.local.stats.masking import password_of

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """The options that the server's thread needs. `LocalUpstash` describes them."""

    token: str
    limits: Limits
    data: Path | None = None
    redis: str = ""
    read_only_token: str = ""
    databases: Mapping[str, str] = field(default_factory=dict)
    read_regions: int = 0
    replica_lag: float | None = None
    fsync: str = "everysec"
    seed: int | None = None

    def __post_init__(self) -> None:
        self._check_engine()
        if self.read_regions < 0:
            raise ValueError("read_regions must be a whole number from 0")
        if not all(map(_VISIBLE_ASCII.fullmatch, self.tokens)):
            # Never quoted: it is a secret.
            raise ValueError("a token must be visible ASCII without spaces, because clients send it in a header")
        if len(set(self.tokens)) < len(self.tokens):
            raise ValueError("two tokens are equal: use a different one for each database and permission")

    @property
    def tokens(self) -> list[str]:
        """All tokens."""
        return [self.token, *self.databases, *filter(None, [self.read_only_token])]

    @property
    def secrets(self) -> list[str]:
        """The texts that the log must not show: tokens, and passwords of engines."""
        return [*self.tokens, *(password_of(url) for url in (self.redis, *self.databases.values()))]

    def _check_engine(self) -> None:
        if self.data is not None and self.redis:
            raise ValueError("give either data or redis: your Redis keeps its own data")
        if self.fsync not in ("everysec", "always"):
            raise ValueError("fsync must be everysec or always")
        if self.fsync == "always" and self.data is None:
            raise ValueError("fsync='always' requires data, a directory to keep the data in")
        if self.replica_lag is not None and (self.redis or not 0 <= self.replica_lag <= 3600):
            raise ValueError("replica_lag must be from 0 to 3600 seconds, and requires the embedded Valkey")
