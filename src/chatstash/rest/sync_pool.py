"""HTTP for callers that block: one urllib3 pool per database and process. Opens sockets.

urllib3 does the pooling, TLS, proxies and HTTP; its connection class is extended in four places: the deadline bounds
every wait, a connection idle for long is not used again, it is known whether a request went out whole, and a child
process never touches its parent's sockets.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from chatstash.errors import DatabaseError
from chatstash.rest.deadline import CONNECT_TIMEOUT, MAX_IDLE, Deadline, DeadlineSocket
from chatstash.rest.endpoint import Endpoint
from chatstash.rest.failures import bare, broken, timed_out
from chatstash.rest.network import Proxy, proxy_for, tls_context
from chatstash.rest.protocol import HttpReply, HttpRequest

_KEPT_CONNECTIONS = 64
_TLS_RECORD = 16384


class _Exchange(threading.local):
    """What the connection needs to know of the request its thread is making; urllib3 has no way to pass it."""

    deadline: Deadline
    sent: bool = False


_exchange = _Exchange()


class _Bounded:
    """What both connection classes add to urllib3's."""

    _used_at = 0.0

    @property
    def is_connected(self) -> bool:
        idle = time.time() - self._used_at
        return 0 <= idle <= MAX_IDLE and super().is_connected  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        connection = cast(HTTPConnection, self)
        if connection.sock is None:
            connection.connect()
        _exchange.sent = False
        super().request(*args, **kwargs)  # type: ignore[misc]
        _exchange.sent = True

    def send(self, data: Any) -> None:
        # Piece by piece, for over TLS the time limit of a send begins anew with each record.
        view = memoryview(data)
        for start in range(0, len(view), _TLS_RECORD):
            cast(HTTPConnection, self).sock.settimeout(_exchange.deadline.remaining())
            super().send(view[start : start + _TLS_RECORD])  # type: ignore[misc]

    def getresponse(self) -> Any:
        self._used_at = time.time()
        return super().getresponse()  # type: ignore[misc]

    def response_class(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(DeadlineSocket(sock, _exchange.deadline), *args, **kwargs)  # type: ignore[arg-type]


class _BoundedHTTPConnection(_Bounded, HTTPConnection):  # type: ignore[misc]
    pass


class _BoundedHTTPSConnection(_Bounded, HTTPSConnection):  # type: ignore[misc]
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _BoundedHTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPSConnection


class SyncPool:
    """The connections of one database for blocking callers of this process. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._manager: urllib3.PoolManager | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        # A parent's pools, kept so that the child never closes or finalises them.
        self._inherited: list[object] = []

    def exchange(self, request: HttpRequest, deadline: Deadline, *, writes: bool) -> HttpReply:
        """Send one request and return the whole reply, by the deadline.

        Raises:
            ConnectionFailed: No connection, or it broke.
            RequestTimeout: No whole reply in time.
        """
        _exchange.deadline = deadline
        _exchange.sent = False
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
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise _converted(error, writes=writes) from bare(error)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpReply(response.status, headers, response.data)

    def close(self) -> None:
        """Close the idle connections of this process; the pool opens new ones when it is used again."""
        with self._lock:
            manager, self._manager = self._manager, None
            if manager is not None and self._process == os.getpid():
                manager.clear()

    def _open_manager(self) -> urllib3.PoolManager:
        if self._process != os.getpid():
            self._forget_parent()
        manager = self._manager
        if manager is None:
            with self._lock:
                manager = self._manager = self._manager or _manager_for(self._endpoint)
        return manager

    def _forget_parent(self) -> None:
        self._lock = threading.Lock()
        self._inherited.append(self._manager)
        self._manager = None
        self._process = os.getpid()


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


def _converted(error: Exception, *, writes: bool) -> DatabaseError:
    """Return the error of this package for one of urllib3's or the socket's."""
    # NewConnectionError is a subclass of urllib3's timeouts, and a send that timed out comes as a broken connection.
    waited = isinstance(error, (Urllib3TimeoutError, TimeoutError)) and not isinstance(error, NewConnectionError)
    if waited or not _exchange.deadline.allows(0):
        return timed_out(sent=_exchange.sent, writes=writes)
    return broken(sent=_exchange.sent, writes=writes)
