"""The route to a database: directly to its host, or through a proxy. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from chatstash.rest.endpoint import Endpoint
from chatstash.rest.http.environment import Proxy
from chatstash.rest.http.exchange import HttpRequest
from chatstash.rest.secret import Secret
from chatstash.version import __version__


class Route:
    """How to reach a database, and the parts of a request's head that depend on it.

    Args:
        endpoint: The database.
        proxy: The proxy to use, or None.

    Attributes:
        host: The host to connect to: the proxy's, or the database's.
        port: Its port.
        proxy_host: The host name to verify for a proxy over TLS; None for other proxies.
        tls_host: The host name to verify for the database; None for plain http.
        target: Host and port of the database, for messages.
        via: The proxy, for messages; empty without one.
        tunnel: The head of the CONNECT request, or None if no tunnel is needed.
    """

    __slots__ = ("_fixed", "_prefix", "host", "port", "proxy_host", "target", "tls_host", "tunnel", "via")

    def __init__(self, endpoint: Endpoint, proxy: Proxy | None) -> None:
        parts = urlsplit(endpoint.url)
        name = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self.target = f"{name}:{endpoint.port}"
        self.host, self.port = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
        self.via = f" through the proxy {proxy.host}:{proxy.port}" if proxy else ""
        self.proxy_host = proxy.host if proxy and proxy.is_https else None
        self.tls_host = endpoint.host if endpoint.scheme == "https" else None
        tunnelled = proxy is not None and self.tls_host is not None
        self.tunnel = _tunnel_head(self.target, proxy) if proxy and tunnelled else None
        # Without a tunnel, the request line names the whole URL for the proxy.
        self._prefix = f"{parts.scheme}://{parts.netloc}{parts.path}" if proxy and not tunnelled else parts.path
        self._fixed = _fixed_lines(parts.netloc, endpoint, None if tunnelled else proxy)

    def head(self, request: HttpRequest) -> bytes:
        """Return the head of a request. It holds the token: keep it in no variable."""
        own = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        return (
            f"POST {self._prefix}{request.path} HTTP/1.1\r\n{self._fixed.get_secret_value()}"
            f"content-length: {len(request.body)}\r\n{own}\r\n"
        ).encode("latin-1")


def _tunnel_head(target: str, proxy: Proxy) -> Secret:
    credentials = _proxy_line(proxy)
    return Secret(
        f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nuser-agent: chatstash/{__version__}\r\n"
        f"{credentials.get_secret_value()}\r\n"
    )


def _fixed_lines(netloc: str, endpoint: Endpoint, proxy: Proxy | None) -> Secret:
    # No compression: records are small, and the size of decompressed data is unbounded.
    return Secret(
        f"host: {netloc}\r\nuser-agent: chatstash/{__version__}\r\naccept-encoding: identity\r\n"
        f"authorization: Bearer {endpoint.token.get_secret_value()}\r\n"
        f"{_proxy_line(proxy).get_secret_value() if proxy else ''}"
    )


def _proxy_line(proxy: Proxy) -> Secret:
    if proxy.credentials is None:
        return Secret("")
    return Secret(f"proxy-authorization: {proxy.credentials.get_secret_value()}\r\n")
