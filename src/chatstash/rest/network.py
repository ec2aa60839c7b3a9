"""What the environment says about the network: proxies and certificates, read as httpx reads them.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (https://www.python-httpx.org/environment_variables/), and
`SSL_CERT_FILE` and `SSL_CERT_DIR`, with certifi's certificates where neither is set.
"""

from __future__ import annotations

import base64
import os
import ssl
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from chatstash.rest.endpoint import Endpoint, Secret


class Proxy:
    """An HTTP proxy: its URL without credentials, and the headers that carry them (they show in no repr).

    Raises:
        ValueError: The proxy is not an http or https one.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names has no valid port") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError(
                f"a {parts.scheme!r} proxy is not supported: set HTTPS_PROXY to an http:// or https:// one, or "
                "except the database's host with NO_PROXY"
            )
        place = f"[{host}]" if ":" in host else host
        self.url = urlunsplit((parts.scheme, f"{place}:{port}" if port else place, "", "", ""))
        self.headers = _authorization(unquote(parts.username or ""), unquote(parts.password or ""))

    @property
    def is_https(self) -> bool:
        """Whether the proxy itself is spoken to over TLS."""
        return self.url.startswith("https:")


def _authorization(user: str, password: str) -> dict[str, str]:
    if not user:
        return {}
    return {"proxy-authorization": Secret(f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")}


def proxy_for(endpoint: Endpoint) -> Proxy | None:
    """Return the proxy the environment names for a database, or None."""
    proxies = getproxies()
    url = proxies.get(endpoint.scheme) or proxies.get("all")
    if not url or proxy_bypass(endpoint.host):
        return None
    return Proxy(url)


def tls_context() -> ssl.SSLContext:
    """Return a context that verifies certificates and host names; making one takes some milliseconds.

    Raises:
        ValueError: The environment names certificates that cannot be read.
    """
    cafile, capath = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not cafile and not capath:
        return ssl.create_default_context(cafile=certifi.where())
    try:
        return ssl.create_default_context(cafile=cafile or None, capath=None if cafile else capath)
    except OSError as error:
        name = "SSL_CERT_FILE" if cafile else "SSL_CERT_DIR"
        raise ValueError(f"{name} names certificates that cannot be read: {error}") from error
