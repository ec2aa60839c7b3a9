"""TLS between bytes and bytes: OpenSSL on memory, no socket. Pure."""

from __future__ import annotations

import ssl

_AT_ONCE = 2**18


class Tls:
    """The client's end of one TLS session.

    Args:
        context: Verifies the server.
        host: Whose certificate is wanted; sent as SNI where it is a name.
    """

    __slots__ = ("_incoming", "_outgoing", "_session", "ended")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.ended = False
        """Whether the server ended the session, so that what came before is whole."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host.rstrip("."))

    def shake_hands(self, received: bytes) -> bool:
        """Go on with the handshake, and tell whether it is done; raises ssl.SSLError where it fails."""
        self._incoming.write(received)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def output(self) -> bytes:
        """Return what is to be sent."""
        return self._outgoing.read()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return records that hold `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._session.write(rest) :]
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> bytes:
        """Return what records hold; empty where none is whole yet. Raises ssl.SSLError where they are damaged."""
        self._incoming.write(received)
        found = []
        try:
            while data := self._session.read(_AT_ONCE):
                found.append(data)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(found)
