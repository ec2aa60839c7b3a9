"""HTTP for callers that block: one urllib3 pool per database and process. Opens sockets.

urllib3 does the pooling, TLS, proxies and HTTP; its connection class is extended in three places: the deadline bounds
every wait, a connection idle for long is not used again, and it is known whether a request went out whole.
"""

from __future__ import annotations

import http.client
import io
import queue
import socket
import threading
import time
from collections import deque
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError
from urllib3.util.response import assert_header_parsing

from chatstash.errors import DatabaseError
from chatstash.rest.deadline import CONNECT_TIMEOUT, MAX_IDLE, Deadline
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.failures import bare, broken, drop_frames, timed_out
from chatstash.rest.fork import begins_anew_after_fork
from chatstash.rest.network import Proxy, proxy_for, tls_context
from chatstash.rest.protocol import HttpReply, HttpRequest

_KEPT_CONNECTIONS = 64
_TLS_RECORD = 16384


class _Exchange(threading.local):
    """What the connection needs to know of the request its thread is making; urllib3 has no way to pass it.

    `sent` is true unless the connection itself has said that the request did not go out whole.
    """

    deadline: Deadline
    sent: bool = True


_exchange = _Exchange()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket, giving each wait only the time that is left in all.

    A socket's own timeout begins anew with each byte, so a body that drips would never end.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        # makefile counts as a user of the socket, which so stays open until the reply is read.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.patience())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineSocket:
    """Stands in for a socket where http.client makes the file it reads a reply from."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline))


class _StrictResponse(http.client.HTTPResponse):
    """A reply whose header lines are all such; urllib3 takes others too, and logs what it cannot read, token or not."""

    def begin(self) -> None:
        super().begin()
        assert_header_parsing(self.msg)


class _BoundedHTTP(HTTPConnection):
    # Some set it on http.client's class, to see requests of theirs: it would print the token with ours.
    debuglevel = 0
    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        idle = time.time() - self._used_at
        return 0 <= idle <= MAX_IDLE and super().is_connected

    def connect(self) -> None:
        _exchange.sent = False
        super().connect()

    def _new_conn(self) -> socket.socket:
        # urllib3 gives each address of a host the whole timeout; here all share it.
        within = Deadline(min(CONNECT_TIMEOUT, _exchange.deadline.remaining()))
        failure: Exception = OSError("the host has no address")
        try:
            for address in socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM):
                try:
                    return self._connected(address, within)
                except OSError as error:
                    failure = error
        except (OSError, UnicodeError) as error:
            failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from failure
        raise NewConnectionError(self, str(failure)) from failure

    def _connected(self, address: Any, within: Deadline) -> socket.socket:
        family, kind, protocol, _, place = address
        connection = socket.socket(family, kind, protocol)
        try:
            for option in self.socket_options or ():
                connection.setsockopt(*option)
            connection.settimeout(within.remaining())
            connection.connect(place)
        except BaseException:
            connection.close()
            raise
        return connection

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        _exchange.sent = False
        super().request(*args, **kwargs)
        _exchange.sent = True

    def send(self, data: Any) -> None:
        # Piece by piece, for over TLS the time limit of a send begins anew with each record.
        view = memoryview(data)
        for start in range(0, len(view), _TLS_RECORD):
            self.sock.settimeout(_exchange.deadline.patience())
            super().send(view[start : start + _TLS_RECORD])

    def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override] # as urllib3's own
        self._used_at = time.time()
        return super().getresponse()

    def response_class(  # type: ignore[override] # a class there
        self, sock: Any, *args: Any, **kwargs: Any
    ) -> http.client.HTTPResponse:
        # http.client calls this to make a response, and uses of the socket no more than makefile.
        return _StrictResponse(_DeadlineSocket(sock, _exchange.deadline), *args, **kwargs)  # type: ignore[arg-type]


class _BoundedHTTPS(_BoundedHTTP, HTTPSConnection):
    pass


class _Stack(queue.LifoQueue[Any]):
    """urllib3's queue of idle connections, without a lock of its own.

    An exception that a signal handler raises (Ctrl-C, a soft time limit) can leave a lock of queue.LifoQueue held for
    ever; a deque's append and pop are single steps.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._items: deque[Any] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002 - queue's own
        if len(self._items) >= self.maxsize:
            raise queue.Full
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002 - queue's own
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._items)


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _BoundedHTTP
    QueueCls = _Stack


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPS
    QueueCls = _Stack


class SyncPool:
    """The connections of one database for blocking callers of this process. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._manager: urllib3.PoolManager | None = None
        self._lock = threading.Lock()
        # Pools of a parent process, kept so that they are never closed or finalised here.
        self._inherited: list[object] = []
        begins_anew_after_fork(self)

    def exchange(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        """Send one request and return the whole reply, by the deadline.

        Raises:
            ConnectionFailed: No connection, or it broke.
            RequestTimeout: No whole reply in time.
        """
        _exchange.deadline = deadline
        _exchange.sent = True
        try:
            timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, deadline.remaining()), read=deadline.remaining())
            response = self._open_manager().urlopen(
                "POST",
                self._endpoint.url + request.path,
                body=request.body,
                headers=dict(request.headers),
                timeout=timeout,
                retries=False,
                redirect=False,
            )
        except (HTTPError, OSError) as error:
            failure, cause = _converted(error), bare(error, self._endpoint.token)
        except BaseException as error:
            drop_frames(error)
            raise
        else:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(response.status, headers, response.data)
        # Not raised where the library's error is handled, for it would come along as the context.
        raise failure from cause

    def close(self) -> None:
        """Close the idle connections of this process; the pool opens new ones when it is used again."""
        with self._lock:
            manager, self._manager = self._manager, None
        if manager is not None:
            manager.clear()

    def forget_parent(self) -> None:
        """Begin with fresh connections in a child process."""
        self._lock = threading.Lock()
        self._inherited.append(self._manager)
        self._manager = None

    def _open_manager(self) -> urllib3.PoolManager:
        manager = self._manager
        if manager is None:
            with self._lock:
                manager = self._manager = self._manager or _manager_for(self._endpoint)
        return manager


def _manager_for(endpoint: Endpoint) -> urllib3.PoolManager:
    proxy = proxy_for(endpoint)
    options: dict[str, Any] = {"maxsize": _KEPT_CONNECTIONS, "num_pools": 1, "retries": False}
    if endpoint.scheme == "https" or (proxy and proxy.is_https):
        options["ssl_context"] = tls_context()
    manager = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager


def _proxied(proxy: Proxy, options: dict[str, Any]) -> urllib3.PoolManager:
    if proxy.is_https:
        options["proxy_ssl_context"] = options["ssl_context"]
    return urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **options)


def _converted(error: Exception) -> DatabaseError:
    """Return the error of this package for one of urllib3's or the socket's."""
    # NewConnectionError is a subclass of urllib3's timeouts, and a send that timed out comes as a broken connection.
    waited = isinstance(error, (Urllib3TimeoutError, TimeoutError)) and not isinstance(error, NewConnectionError)
    if waited or not _exchange.deadline.allows(0):
        return timed_out(sent=_exchange.sent)
    return broken(sent=_exchange.sent)
