"""Where a database is and how to be let in: its REST URL and its token, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar, cast
from urllib.parse import urlsplit

URL_VARIABLE = "UPSTASH_REDIS_REST_URL"
TOKEN_VARIABLE = "UPSTASH_REDIS_REST_TOKEN"  # noqa: S105 - a variable's name

_VERCELS = ("KV_REST_API_URL", "KV_REST_API_TOKEN")
"""What Vercel calls them; Upstash's JavaScript SDK reads these too."""

T = TypeVar("T")

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


class Secret:
    """A text that shows itself only to who asks for it with `get_secret_value`, as pydantic's SecretStr.

    It is no string: tools that print the local variables of a traceback cut strings up, and a piece of a string is
    plain text. Copies stay in this process; it cannot be pickled.
    """

    __slots__ = ("get_secret_value",)

    get_secret_value: Callable[[], str]
    """Returns the text."""

    def __init__(self, text: str | Secret) -> None:
        # In a closure, where no tool that looks into objects finds it.
        self.get_secret_value = text.get_secret_value if isinstance(text, Secret) else lambda: text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __bool__(self) -> bool:
        return bool(self.get_secret_value())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.get_secret_value() == other.get_secret_value()

    def __hash__(self) -> int:
        return hash(self.get_secret_value())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token is not pickled: it comes from the environment, or is given anew")


_NOTHING = Secret("")


def as_secret(value: T) -> T:
    """Return a string as a `Secret`, anything else as it is; to type checkers it stays what it was.

    For arguments that may hold a token or a password, before anything can fail: a traceback shows the arguments.
    """
    return cast(T, Secret(value)) if isinstance(value, str) else value


@dataclass(frozen=True, init=False)
class Endpoint:
    """One database: its REST URL without a trailing slash, and its token.

    Raises:
        ValueError: The url or the token cannot be right. The message never shows the token, nor what a url holds
            besides scheme and host.
    """

    url: str
    token: Secret

    def __init__(self, url: str | Secret, token: str | Secret) -> None:
        url, token = as_secret(url), as_secret(token)
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


def resolve_endpoint(url: str | Secret = "", token: str | Secret = "") -> Endpoint:
    """Return the endpoint of a url and token, each from its environment variable where it is empty.

    The variables are `UPSTASH_REDIS_REST_URL` and `UPSTASH_REDIS_REST_TOKEN` or, where neither is set, Vercel's
    `KV_REST_API_URL` and `KV_REST_API_TOKEN`: never one of each pair, which may belong to two databases.

    Raises:
        ValueError: One is missing altogether, or cannot be right.
    """
    names = _variables()
    given = zip(names, (as_secret(url), as_secret(token)), strict=True)
    found = [_from_environment(name) if value == _NOTHING else value for name, value in given]
    missing = [name for name, value in zip(names, found, strict=True) if value == _NOTHING]
    if missing:
        raise ValueError(
            f"No database configured: {' and '.join(missing)} missing. Give url= and token=, or set {URL_VARIABLE} and "
            f"{TOKEN_VARIABLE} (or {' and '.join(_VERCELS)}, which are read where neither is set). For a local one: "
            "pip install 'chatstash[local]', then run your command with: chatstash dev -- COMMAND"
        )
    return Endpoint(*found)


def _variables() -> tuple[str, str]:
    """Return the names of the pair of variables that counts."""
    own = (URL_VARIABLE, TOKEN_VARIABLE)
    is_vercels = not any(map(os.environ.get, own)) and any(map(os.environ.get, _VERCELS))
    return _VERCELS if is_vercels else own


def _from_environment(name: str) -> Secret:
    value = Secret(os.environ.get(name, ""))
    if _is_quoted(value):
        raise ValueError(
            f"The value of {name} is in quotes, and they are part of it. Remove them: unlike a shell, "
            "`docker --env-file` and the like take a value as it is written."
        )
    return value


def _is_quoted(value: Secret) -> bool:
    return value.get_secret_value().strip()[:1] in {'"', "'"} or value.get_secret_value().strip()[-1:] in {'"', "'"}


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_url(url: object) -> str:
    if not isinstance(url, Secret):
        raise ValueError(f"url must be a string, not {type(url).__name__}")
    if wrong := _what_is_wrong_with_url(url):
        raise ValueError(wrong)
    return _trimmed_url(url)


def _trimmed_url(url: Secret) -> str:
    return url.get_secret_value().strip().rstrip("/")


def _what_is_wrong_with_url(url: Secret) -> str | None:
    # Told and not raised: a traceback from here would show the parts of the url, a password among them.
    if _is_quoted(url):
        return "url is in quotes, and the quotes are part of it: remove them"
    try:
        parts = urlsplit(_trimmed_url(url))
        host, _ = parts.hostname, parts.port
        # What no name server could be asked for: labels that are empty or over 63 characters.
        (host or "").encode("idna")
    except ValueError:
        return "url is not a URL; copy UPSTASH_REDIS_REST_URL from the Upstash console"
    if parts.scheme not in ("http", "https") or not host:
        return f"url {_shown(parts.scheme, host)} {_REST_URL_WANTED}"
    if not _VISIBLE_ASCII.fullmatch(_trimmed_url(url)):
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


def _checked_token(token: object) -> Secret:
    if not isinstance(token, Secret):
        raise ValueError(f"token must be a string, not {type(token).__name__}")
    if _is_quoted(token):
        raise ValueError("token is in quotes, and the quotes are part of it: remove them")
    trimmed = Secret(token.get_secret_value().strip())
    if not _VISIBLE_ASCII.fullmatch(trimmed.get_secret_value()):
        raise ValueError(
            "token is empty, or has spaces, control or non-ASCII characters: it cannot be sent in a header"
        )
    return trimmed
