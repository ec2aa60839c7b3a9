"""Where a database is and how to be let in: its REST URL and its token, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

URL_VARIABLE = "UPSTASH_REDIS_REST_URL"
TOKEN_VARIABLE = "UPSTASH_REDIS_REST_TOKEN"  # noqa: S105 - a variable's name

T = TypeVar("T")

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


class Secret(str):
    """A string that does not show itself in a repr, and so not in a traceback that prints local variables.

    It can be copied, for a copy stays in this process, but not pickled.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token is not pickled: it comes from the environment, or is given anew")


def veiled(value: T) -> T | Secret:
    """Return a string as a `Secret`, anything else as it is.

    For arguments that may hold a token or a password, before anything can fail: a traceback shows the arguments.
    """
    return Secret(value) if isinstance(value, str) else value


@dataclass(frozen=True, init=False)
class Endpoint:
    """One database: its REST URL without a trailing slash, and its token.

    Raises:
        ValueError: The url or the token cannot be right. The message never shows the token, nor what a url holds
            besides scheme and host.
    """

    url: str
    token: str

    def __init__(self, url: str, token: str) -> None:
        url, token = veiled(url), veiled(token)
        object.__setattr__(self, "url", _checked_url(url))
        object.__setattr__(self, "token", _checked_token(token))

    def __repr__(self) -> str:
        # vars, for a traceback may show the locals of a constructor that is not done.
        return f"Endpoint(url={vars(self).get('url')!r}, token='***')"

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """The host name or address, without port."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_insecure(self) -> bool:
        """Whether the token would travel unencrypted to another machine."""
        return self.scheme == "http" and not is_loopback(self.host)


def endpoint_from(url: str = "", token: str = "") -> Endpoint:
    """Return the endpoint of a url and token, each from its environment variable where it is empty.

    Raises:
        ValueError: One is missing altogether, or cannot be right.
    """
    found = {
        URL_VARIABLE: veiled(url if url != "" else os.environ.get(URL_VARIABLE, "")),
        TOKEN_VARIABLE: veiled(token if token != "" else os.environ.get(TOKEN_VARIABLE, "")),
    }
    missing = [name for name, value in found.items() if value == ""]
    if missing:
        raise ValueError(
            f"there is no database to talk to: {' and '.join(missing)} missing. Give url= and token=, or set "
            f"{URL_VARIABLE} and {TOKEN_VARIABLE}. For a local one: pip install 'chatstash[local]', then "
            "run your command with: chatstash dev -- COMMAND"
        )
    return Endpoint(found[URL_VARIABLE], found[TOKEN_VARIABLE])


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_url(url: str) -> str:
    if not isinstance(url, str):
        raise ValueError(f"url must be a string, not {type(url).__name__}")
    trimmed = Secret(url.strip().rstrip("/"))
    if wrong := _what_is_wrong_with_url(trimmed):
        raise ValueError(wrong)
    return str(trimmed)


def _what_is_wrong_with_url(url: str) -> str | None:
    # Told and not raised: a traceback from here would show the parts of the url, a password among them.
    try:
        parts = urlsplit(str(url))
        host, _ = parts.hostname, parts.port
        # What no name server could be asked for: labels that are empty or over 63 characters.
        (host or "").encode("idna")
    except ValueError:
        return "url is not a URL; copy UPSTASH_REDIS_REST_URL from the Upstash console"
    if parts.scheme not in ("http", "https") or not host:
        return f"url {_shown(parts.scheme, host)} {_REST_URL_WANTED}"
    if not _VISIBLE_ASCII.fullmatch(url):
        return "url has spaces, control or non-ASCII characters; a host name of another script is written xn--…"
    if parts.username is not None or parts.query or parts.fragment:
        return "url must not carry a user, a query or a fragment; give the token as token="
    return None


_REST_URL_WANTED = (
    "is not a database's REST URL, which begins with https:// (the Redis protocol's redis:// or rediss:// URL is "
    "another); copy UPSTASH_REDIS_REST_URL from the Upstash console"
)


def _shown(scheme: str, host: str | None) -> str:
    return repr(f"{scheme}://{host or ''}…") if scheme else "without a scheme"


def _checked_token(token: str) -> Secret:
    if not isinstance(token, str):
        raise ValueError(f"token must be a string, not {type(token).__name__}")
    trimmed = Secret(token.strip())
    if not _VISIBLE_ASCII.fullmatch(trimmed):
        raise ValueError(
            "token is empty, or has spaces, control or non-ASCII characters: it cannot be sent in a header"
        )
    return trimmed
