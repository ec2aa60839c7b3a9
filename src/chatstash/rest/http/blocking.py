"""Moves the bytes of a connection for blocking callers. Opens sockets; takes no lock."""

from __future__ import annotations

import math
import os
import select
import socket
from collections.abc import Callable

from chatstash.rest.deadline import Deadline
from chatstash.rest.http.connection import Connection
from chatstash.rest.http.sockets import RECEIVE_SIZE, STAGGER, Address, Socket, interleaved
from chatstash.rest.interrupts import is_from_signal_handler


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host. The system decides how long that takes."""
    return [(family, place) for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(addresses: list[Address], deadline: Deadline) -> Socket:
    """Return a connection to the first of the addresses that answers (https://www.rfc-editor.org/rfc/rfc8305)."""
    waiting = interleaved(addresses)
    connecting: list[Socket] = []
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


def move(connection: Connection, sock: Socket, deadline: Deadline, is_done: Callable[[], bool]) -> None:
    """Send and receive the bytes of a connection, until `is_done()`."""
    while not is_done():
        if connection.has_output and not (connection.is_open() and sock.wait(0)):
            _send(connection, sock, deadline)
        else:
            _receive(connection, sock, deadline)


def _send(connection: Connection, sock: Socket, deadline: Deadline) -> None:
    try:
        connection.note_sent(sock.send(connection.output()))
    except BlockingIOError:
        connection.note_sent(0)
        if not sock.wait_to_send(deadline.silence_limit()):
            raise TimeoutError("the server accepts no more bytes") from None
    except (BrokenPipeError, ConnectionResetError) as error:
        # The server may have sent the reason before it closed the connection.
        if is_from_signal_handler(error) or not connection.send_failed():
            raise


def _receive(connection: Connection, sock: Socket, deadline: Deadline) -> None:
    if not sock.wait(deadline.silence_limit()):
        raise TimeoutError("the server is silent")
    try:
        data = sock.recv(RECEIVE_SIZE)
    except BlockingIOError:
        return
    connection.receive(data)


def _begin(address: Address) -> Socket:
    family, place = address
    sock = Socket(family)
    try:
        sock.connect(place)
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock


if hasattr(select, "poll"):

    def _writable(socks: list[Socket], seconds: float) -> list[Socket]:
        poll = select.poll()
        for sock in socks:
            poll.register(sock, select.POLLOUT)
        found = {number for number, _ in poll.poll(math.ceil(seconds * 1000))}
        return [sock for sock in socks if sock.fileno() in found]

else:

    def _writable(socks: list[Socket], seconds: float) -> list[Socket]:
        _, ready, failed = select.select([], socks, socks, seconds)
        return [*ready, *(sock for sock in failed if sock not in ready)]
