"""TLS between bytes and bytes: OpenSSL on memory, no socket. Pure."""

from __future__ import annotations

import ssl

from chatstash.rest.http.faults import Broken

_AT_ONCE = 2**18


class Tls:
    """The client's end of one TLS session.

    Args:
        context: Verifies the server.
        host: Whose certificate is wanted; sent as SNI where it is a name.
    """

    __slots__ = ("_incoming", "_outgoing", "_session")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
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
        """Return what records hold; empty where there is no whole one yet.

        Raises:
            ssl.SSLError: They are damaged.
            Broken: The server ended the session.
        """
        self._incoming.write(received)
        found = []
        try:
            while data := self._session.read(_AT_ONCE):
                found.append(data)
        except ssl.SSLWantReadError:
            return b"".join(found)
        except ssl.SSLZeroReturnError:
            pass
        if found:
            return b"".join(found)
        raise Broken("the server ended the TLS session")
