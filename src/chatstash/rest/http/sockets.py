"""Sockets and addresses, for both shells."""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any, TypeAlias

Address: TypeAlias = tuple[int, Any]
"""An address family, and the address that its sockets connect to."""

STAGGER = 0.25
"""Seconds before the next address of a host is tried too (https://www.rfc-editor.org/rfc/rfc8305#section-8)."""

RECEIVE_SIZE = 2**16
"""Bytes to receive at once."""

_CACHE_SECONDS = 10.0
"""How long the addresses of a host are cached, so that a burst of connections resolves it once."""


class Socket(socket.socket):
    """A TCP socket without Nagle's delay. It is not blocking: each wait is a poll, for as long as the caller says.

    It closes without a ResourceWarning when it is garbage collected: a store need not be closed, and an event loop may
    end with requests in flight.
    """

    def __init__(self, family: int) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self.setblocking(False)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(select, "poll"):
            self._incoming = select.poll()
            self._incoming.register(self, select.POLLIN)

    def __del__(self, close: Callable[[int], None] = socket.close) -> None:
        number = self.detach()
        if number >= 0:
            close(number)

    if hasattr(select, "poll"):

        def wait(self, seconds: float) -> bool:
            """Wait until there are bytes to read; return False after `seconds`."""
            return bool(self._incoming.poll(math.ceil(seconds * 1000)))

        def wait_to_send(self, seconds: float) -> bool:
            """Wait until there is room to write, or there are bytes to read; return False after `seconds`."""
            poll = select.poll()
            poll.register(self, select.POLLIN | select.POLLOUT)
            return bool(poll.poll(math.ceil(seconds * 1000)))

    else:

        def wait(self, seconds: float) -> bool:
            """Wait until there are bytes to read; return False after `seconds`."""
            return any(select.select([self], [], [], seconds))

        def wait_to_send(self, seconds: float) -> bool:
            """Wait until there is room to write, or there are bytes to read; return False after `seconds`."""
            return any(select.select([self], [self], [], seconds))


def interleaved(addresses: list[Address]) -> list[Address]:
    """Return addresses with alternating families, beginning with the family of the first."""
    first = addresses[0][0] if addresses else 0
    same = [address for address in addresses if address[0] == first]
    others = [address for address in addresses if address[0] != first]
    return [address for address in chain.from_iterable(zip_longest(same, others)) if address is not None]


def ip_literal(host: str, port: int) -> list[Address]:
    """Return the address of an IP literal; empty for a host name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    return []


class AddressCache:
    """The addresses of one host, cached for some seconds."""

    def __init__(self) -> None:
        self._found: tuple[float, list[Address]] = (0.0, [])

    def get(self) -> list[Address]:
        """Return the cached addresses; empty if there are none."""
        until, found = self._found
        return found if time.monotonic() < until else []

    def put(self, found: list[Address]) -> list[Address]:
        """Cache addresses, and return them."""
        self._found = (time.monotonic() + _CACHE_SECONDS, found)
        return found

    def clear(self) -> None:
        """Drop the addresses: none of them could be reached."""
        self._found = (0.0, [])
