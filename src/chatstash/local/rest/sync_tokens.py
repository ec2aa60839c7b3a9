"""Read-your-writes tokens, opaque to clients. Pure.

https://upstash.com/docs/redis/howto/readyourwrites
"""

from __future__ import annotations

import base64
import secrets


class SyncTokens:
    """Encodes positions in the leader's stream as the tokens of one server."""

    def __init__(self) -> None:
        self._server_id = secrets.token_hex(4)

    def token_of(self, position: int) -> str:
        """Return the token of a position."""
        return base64.b64encode(f"{self._server_id}:{position}".encode()).decode()

    def position_of(self, token: bytes | None) -> int | None:
        """Return the position of a token; None if it is missing or from another server."""
        if not token:
            return None
        try:
            server_id, _, position = base64.b64decode(token, validate=True).partition(b":")
            return int(position) if server_id == self._server_id.encode() else None
        except ValueError:
            return None
