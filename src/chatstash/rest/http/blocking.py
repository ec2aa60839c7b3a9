"""Moves the bytes of a connection for blocking callers. Opens sockets; takes no lock.

Sockets are non-blocking: each wait is a poll, for as long as the deadline allows.
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
from chatstash.rest.http.sockets import RECEIVE_SIZE, STAGGER, Address, interleaved, new_socket
from chatstash.rest.interrupts import is_from_signal_handler


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host. The system decides how long that takes."""
    return [(family, place) for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """Return a connection to the first of the addresses that answers (https://www.rfc-editor.org/rfc/rfc8305)."""
    waiting = interleaved(addresses)
    connecting: list[socket.socket] = []
    failure: OSError = OSError("the host has no address")
    try:
        while waiting or connecting:
            if waiting:
                try:
                    connecting.append(_begin(waiting.pop(0)))
                except OSError as error:
                    failure = error
                    continue
            for sock in _writable(connecting, min(STAGGER, deadline.remaining()) if waiting else deadline.remaining()):
                connecting.remove(sock)
                if not (number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    return sock
                sock.close()
                failure = OSError(number, os.strerror(number))
        raise failure
    finally:
        for sock in connecting:
            sock.close()


def move(connection: Connection, sock: socket.socket, deadline: Deadline, is_done: Callable[[], bool]) -> None:
    """Send and receive the bytes of a connection, until `is_done()`."""
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
        connection.note_sent(sock.send(connection.output()))
    except BlockingIOError:
        connection.note_sent(0)
        if not wait(sock, deadline.silence_limit(), writing=True):
            raise TimeoutError("the server accepts no more bytes") from None
    except (BrokenPipeError, ConnectionResetError) as error:
        # The server may have sent the reason before it closed the connection.
        if is_from_signal_handler(error) or not connection.send_failed():
            raise


def _receive(connection: Connection, sock: socket.socket, deadline: Deadline) -> None:
    if not wait(sock, deadline.silence_limit()):
        raise TimeoutError("the server is silent")
    with suppress(BlockingIOError):
        connection.receive(sock.recv(RECEIVE_SIZE))


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


if hasattr(select, "poll"):

    def wait(sock: socket.socket, seconds: float, *, writing: bool = False) -> bool:
        """Wait until there are bytes to read or, if `writing`, room to write; return False after `seconds`."""
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
        """Wait until there are bytes to read or, if `writing`, room to write; return False after `seconds`."""
        return any(select.select([sock], [sock] if writing else [], [], seconds))

    def _writable(socks: list[socket.socket], seconds: float) -> list[socket.socket]:
        _, ready, failed = select.select([], socks, socks, seconds)
        return [*ready, *(sock for sock in failed if sock not in ready)]
