"""What both shells do with sockets and addresses."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any, TypeAlias

Address: TypeAlias = tuple[int, Any]
"""A family and what a socket of it connects to."""

STAGGER = 0.25
"""Seconds after which the next address of a host is tried as well (https://www.rfc-editor.org/rfc/rfc8305#section-8)."""

RECEIVED_AT_ONCE = 2**16

_LOOKED_UP_FOR = 10.0
"""Seconds for which the addresses of a host are kept, so that a burst of connections looks it up once."""


class _QuietSocket(socket.socket):
    """A socket that is closed, and not complained of, when nobody holds it any more.

    A store need not be closed, and a loop may go away with what is under way in it.
    """

    def __del__(self, close: Callable[[int], None] = socket.close) -> None:
        number = self.detach()
        if number >= 0:
            close(number)


def new_socket(family: int) -> socket.socket:
    """Return a TCP socket that does not block and sends what it is given at once."""
    sock = _QuietSocket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def in_turn(addresses: list[Address]) -> list[Address]:
    """Return addresses with their families by turns, beginning with that of the first."""
    first = addresses[0][0] if addresses else 0
    own = [address for address in addresses if address[0] == first]
    others = [address for address in addresses if address[0] != first]
    return [address for address in chain.from_iterable(zip_longest(own, others)) if address is not None]


def literal(host: str, port: int) -> list[Address]:
    """Return the address that an IP literal is, else nothing."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    return []


class Addresses:
    """The addresses of one host, kept for some seconds."""

    def __init__(self) -> None:
        self._found: tuple[float, list[Address]] = (0.0, [])

    def known(self) -> list[Address]:
        """Return them, where they were looked up just now."""
        until, found = self._found
        return found if time.monotonic() < until else []

    def keep(self, found: list[Address]) -> list[Address]:
        """Keep and return what was found."""
        self._found = (time.monotonic() + _LOOKED_UP_FOR, found)
        return found

    def forget(self) -> None:
        """Look them up anew next time: the last attempt reached none."""
        self._found = (0.0, [])
