"""The ports the local server listens on."""

from __future__ import annotations

import errno
import ipaddress
import socket

_LISTEN_ADVICE = {
    errno.EADDRINUSE: "another server uses it; choose another port, or 0 for any free one",
    errno.EACCES: "ports below 1024 need administrator rights; choose another, or 0 for any free one",
    errno.EPERM: "the system forbids this port; choose another, or 0 for any free one",
}
_LAST_PORT = 65_535


class ListenError(OSError):
    """A port cannot be used; the message says which, why, and what to do."""

    def __init__(self, host: str, port: int, error: OSError | UnicodeError) -> None:
        number = error.errno if isinstance(error, OSError) else None
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        advice = _LISTEN_ADVICE.get(number or 0, "use the address of an interface of this machine, such as 127.0.0.1")
        super().__init__(number, f"cannot listen on port {port} of {host or 'any address'}: {reason}; {advice}")

    def __str__(self) -> str:
        return str(self.strerror)


def check_port(name: str, port: int) -> None:
    """Raise ValueError if a number is not a port."""
    if type(port) is not int or not 0 <= port <= _LAST_PORT:
        raise ValueError(f"{name} must be a whole number from 0 to {_LAST_PORT}")


def is_any(host: str) -> bool:
    """Return whether an address means all interfaces."""
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        ListenError: The port cannot be used.
    """
    try:
        return _bound(host, port)
    except (OSError, UnicodeError) as error:
        raise ListenError(host, port, error) from None


def _bound(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    # asyncio turns off Nagle's delay (40 ms a reply) only if the protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
