"""Moves the bytes of a connection for callers that block. Opens sockets; takes no lock.

Sockets do not block: each wait is a poll of its own, for as long as the deadline allows.
"""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress

from chatstash.rest.deadline import Deadline
from chatstash.rest.http.connection import Connection
from chatstash.rest.http.sockets import RECEIVED_AT_ONCE, STAGGER, Address, in_turn, new_socket
from chatstash.rest.interruptions import is_a_handlers


def look_up(host: str, port: int) -> list[Address]:
    """Return the addresses of a host; how long that takes is the system's business."""
    return [(family, place) for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """Return a connection to the first of the addresses that answers (https://www.rfc-editor.org/rfc/rfc8305).

    Raises:
        OSError: None does; that of the last one.
        TimeoutError: None did in time.
    """
    waiting = in_turn(addresses)
    under_way: list[socket.socket] = []
    failure: OSError = OSError("the host has no address")
    try:
        while waiting or under_way:
            if waiting:
                try:
                    under_way.append(_begin(waiting.pop(0)))
                except OSError as error:
                    failure = error
                    continue
            for sock in _writable(under_way, min(STAGGER, deadline.remaining()) if waiting else deadline.remaining()):
                under_way.remove(sock)
                if not (number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    return sock
                sock.close()
                failure = _as_error(number)
        raise failure
    finally:
        for sock in under_way:
            sock.close()


def move(connection: Connection, sock: socket.socket, deadline: Deadline, is_done: Callable[[], bool]) -> None:
    """Send and receive what a connection wants to, until it is done.

    Raises:
        HttpFault: What was received ends the connection.
        OSError: The connection failed; a TimeoutError where the server was silent for too long.
    """
    while not is_done():
        while connection.has_output:
            if connection.is_open() and wait(sock, 0):
                _receive(connection, sock, deadline)
            else:
                _send(connection, sock, deadline)
        if not is_done():
            _receive(connection, sock, deadline)


def _send(connection: Connection, sock: socket.socket, deadline: Deadline) -> None:
    try:
        connection.taken(sock.send(connection.output()))
    except BlockingIOError:
        connection.taken(0)
        if not wait(sock, deadline.patience(), writing=True):
            raise TimeoutError("the server takes nothing in") from None
    except (BrokenPipeError, ConnectionResetError) as error:
        # It may have said why before it closed the connection.
        if is_a_handlers(error) or not connection.refused():
            raise


def _receive(connection: Connection, sock: socket.socket, deadline: Deadline) -> None:
    if not wait(sock, deadline.patience()):
        raise TimeoutError("the server is silent")
    with suppress(BlockingIOError):
        connection.receive(sock.recv(RECEIVED_AT_ONCE))


def _begin(address: Address) -> socket.socket:
    family, place = address
    sock = new_socket(family)
    try:
        sock.connect(place)
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock


def _as_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


if hasattr(select, "poll"):

    def wait(sock: socket.socket, seconds: float, *, writing: bool = False) -> bool:
        """Tell whether there is something to read (or, if `writing`, room to write), at most so many seconds later."""
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLOUT if writing else select.POLLIN)
        return bool(poll.poll(math.ceil(seconds * 1000)))

    def _writable(socks: list[socket.socket], seconds: float) -> list[socket.socket]:
        poll = select.poll()
        for sock in socks:
            poll.register(sock, select.POLLOUT)
        found = {number for number, _ in poll.poll(math.ceil(seconds * 1000))}
        return [sock for sock in socks if sock.fileno() in found]

else:

    def wait(sock: socket.socket, seconds: float, *, writing: bool = False) -> bool:
        """Tell whether there is something to read (or, if `writing`, room to write), at most so many seconds later."""
        return any(select.select([sock], [sock] if writing else [], [], seconds))

    def _writable(socks: list[socket.socket], seconds: float) -> list[socket.socket]:
        _, ready, failed = select.select([], socks, socks, seconds)
        return [*ready, *(sock for sock in failed if sock not in ready)]
