"""TLS from bytes to bytes: OpenSSL on memory buffers, without a socket. Pure."""

from __future__ import annotations

import ssl

_READ_SIZE = 2**18


class Tls:
    """The client side of one TLS session."""

    __slots__ = ("_incoming", "_outgoing", "_session", "ended")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.ended = False
        """Whether the server ended the session properly, so that nothing was cut off."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host.rstrip("."))

    def handshake(self, received: bytes) -> bool:
        """Continue the handshake, and tell whether it is done; raises ssl.SSLError if it fails."""
        self._incoming.write(received)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def output(self) -> bytes:
        """Return the bytes to send."""
        return self._outgoing.read()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return TLS records that hold `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._session.write(rest) :]
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> bytes:
        """Return the contents of complete records; raises ssl.SSLError if one is damaged."""
        self._incoming.write(received)
        found = []
        try:
            while data := self._session.read(_READ_SIZE):
                found.append(data)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(found)
