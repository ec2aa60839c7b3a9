"""Proxies and certificates that the environment names, read as httpx reads them.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (https://www.python-httpx.org/environment_variables/), and
`SSL_CERT_FILE` and `SSL_CERT_DIR`, with certifi's certificates if neither is set.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chatstash.rest.endpoint import PORTS, Endpoint
from chatstash.rest.secret import Secret

if TYPE_CHECKING:
    import ssl


class Proxy:
    """An HTTP proxy: its address and its credentials, which no repr shows."""

    def __init__(self, url: Secret) -> None:
        if wrong := _proxy_error(url):
            raise ValueError(wrong)
        parts = urlsplit(_with_scheme(url))
        self.host = parts.hostname or ""
        self.port = parts.port or PORTS[parts.scheme]
        self.is_https = parts.scheme == "https"
        """Whether the connection to the proxy itself uses TLS."""
        self.credentials = _basic(unquote(parts.username or ""), unquote(parts.password or ""))
        """The value of its authorization header, or None."""


def _proxy_error(url: Secret) -> str | None:
    # Returned, not raised: a traceback from here would show the parts of the url, perhaps with a password.
    try:
        parts = urlsplit(_with_scheme(url))
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "the proxy URL in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY has no valid host or port"
    if parts.scheme not in PORTS or not host:
        return (
            f"a {parts.scheme!r} proxy is not supported: set HTTPS_PROXY to an http:// or https:// proxy, or exclude "
            "the database's host with NO_PROXY"
        )
    return None


def _with_scheme(url: Secret) -> str:
    return url.get_secret_value() if "://" in url.get_secret_value() else f"http://{url.get_secret_value()}"


def _basic(user: str, password: str) -> Secret | None:
    if not user:
        return None
    return Secret(f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")


def proxy_for(endpoint: Endpoint) -> Proxy | None:
    """Return the proxy the environment names for a database, or None."""
    if (
        os.name == "posix"
        and sys.platform != "darwin"
        and not any(name.lower().endswith("_proxy") for name in os.environ)
    ):
        return None  # urllib.request takes long to import
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    proxies = {scheme: Secret(url) for scheme, url in getproxies().items()}
    url = proxies.get(endpoint.scheme) or proxies.get("all")
    if not url or proxy_bypass(endpoint.host):
        return None
    return Proxy(url)


def tls_context() -> ssl.SSLContext:
    """Return a new TLS context that verifies certificates and host names. Takes some milliseconds."""
    import ssl  # noqa: PLC0415

    import certifi  # noqa: PLC0415 - both are imported on first use

    cafile, capath = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        context = ssl.create_default_context(
            cafile=cafile or (None if capath else certifi.where()), capath=None if cafile else capath or None
        )
    except OSError as error:
        name = "SSL_CERT_FILE" if cafile else "SSL_CERT_DIR"
        raise ValueError(f"cannot read the certificates that {name} names: {error}") from error
    # Where Python leaves it to the system's OpenSSL, older versions may be allowed.
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_alpn_protocols(["http/1.1"])
    return context
