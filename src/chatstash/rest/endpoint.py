"""The REST URL and token of a database, checked before anything is sent."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from chatstash.frozen import dataclass
from chatstash.rest.secret import Secret, as_secret

URL_VARIABLE = "UPSTASH_REDIS_REST_URL"
TOKEN_VARIABLE = "UPSTASH_REDIS_REST_TOKEN"  # noqa: S105 - a variable's name

_VERCEL = ("KV_REST_API_URL", "KV_REST_API_TOKEN")
"""Vercel's names for them; Upstash's JavaScript SDK reads these too."""

PORTS = {"http": 80, "https": 443}


class NoDatabaseConfigured(ValueError):
    """Neither an argument nor an environment variable gives the url or the token."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        return (
            f"No database configured: {' and '.join(self.missing)} missing. Set {URL_VARIABLE} and {TOKEN_VARIABLE} "
            f"(or {' and '.join(_VERCEL)}), or pass url= and token=. For a local database: "
            "pip install 'chatstash[local]', then run your command with: chatstash dev -- COMMAND"
        )


@dataclass(frozen=True)
class Endpoint:
    """One database: its REST URL without a trailing slash, and its token.

    The ValueError for an invalid endpoint never shows the token, and shows only the scheme and host of its url.
    """

    url: str
    token: Secret

    def __init__(self, url: str | Secret, token: str | Secret) -> None:
        url, token = as_secret(url), as_secret(token)
        object.__setattr__(self, "url", _checked_url(url))
        object.__setattr__(self, "token", _checked_token(token))

    def __repr__(self) -> str:
        # vars, because a traceback may show this object before its constructor is done.
        return f"Endpoint(url={vars(self).get('url')!r}, token='***')"

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """The host name or address, without the port."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the url, or that of its scheme."""
        return urlsplit(self.url).port or PORTS[self.scheme]

    @property
    def is_insecure(self) -> bool:
        """Whether the token travels unencrypted to another machine."""
        return self.scheme == "http" and not is_loopback(self.host)


def resolve_endpoint(url: str | Secret = "", token: str | Secret = "") -> Endpoint:
    """Return the endpoint of a url and a token. An empty one is read from its environment variable.

    The variables are `UPSTASH_REDIS_REST_URL` and `UPSTASH_REDIS_REST_TOKEN` or, if neither is set, Vercel's
    `KV_REST_API_URL` and `KV_REST_API_TOKEN`. The two pairs are never mixed: they may belong to two databases.
    """
    names = _variables()
    given = zip(names, (as_secret(url), as_secret(token)), strict=True)
    # Compared, not tested: an argument of a wrong type is not read from the environment but refused.
    found = [_from_environment(name) if value == Secret("") else value for name, value in given]
    missing = [name for name, value in zip(names, found, strict=True) if value == Secret("")]
    if missing:
        raise NoDatabaseConfigured(missing)
    return Endpoint(*found)


def _variables() -> tuple[str, str]:
    """Return the names of the variables to read."""
    upstash = (URL_VARIABLE, TOKEN_VARIABLE)
    is_vercel = not any(map(os.environ.get, upstash)) and any(map(os.environ.get, _VERCEL))
    return _VERCEL if is_vercel else upstash


def _from_environment(name: str) -> Secret:
    value = Secret(os.environ.get(name, ""))
    if _is_quoted(value):
        raise ValueError(
            f"The value of {name} is in quotes, and the quotes are part of it. Remove them: `docker --env-file` and "
            "similar tools do not strip quotes as a shell does."
        )
    return value


def _is_quoted(value: Secret) -> bool:
    return value.get_secret_value().strip()[:1] in {'"', "'"} or value.get_secret_value().strip()[-1:] in {'"', "'"}


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress  # noqa: PLC0415 - for plain http only

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_url(url: object) -> str:
    if not isinstance(url, Secret):
        raise ValueError(f"url must be a string, not {type(url).__name__}")
    if wrong := _url_error(url):
        raise ValueError(wrong)
    return _trimmed_url(url)


def _trimmed_url(url: Secret) -> str:
    return url.get_secret_value().strip().rstrip("/")


def _url_error(url: Secret) -> str | None:
    # Returned, not raised: a traceback from here would show the parts of the url, perhaps with a password.
    if _is_quoted(url):
        return "url is in quotes, and the quotes are part of it: remove them"
    try:
        parts = urlsplit(_trimmed_url(url))
        host, _ = parts.hostname, parts.port
        # No name server can be asked for labels that are empty or longer than 63 characters.
        (host or "").encode("idna")
    except ValueError:
        return "url is not a URL; copy UPSTASH_REDIS_REST_URL from the Upstash console"
    if parts.scheme not in ("http", "https") or not host:
        shown = repr(f"{parts.scheme}://{host or ''}…") if parts.scheme else "without a scheme"
        return (
            f"url {shown} is not a database's REST URL, which begins with https:// (the Redis protocol's redis:// or "
            "rediss:// URL is a different one); copy UPSTASH_REDIS_REST_URL from the Upstash console"
        )
    if not _is_visible_ascii(_trimmed_url(url)):
        return "url has spaces, control or non-ASCII characters; write an international host name as xn--…"
    if parts.username is not None or parts.query or parts.fragment:
        return "url must not have a user, a query or a fragment; pass the token as token="
    return None


def _checked_token(token: object) -> Secret:
    if not isinstance(token, Secret):
        raise ValueError(f"token must be a string, not {type(token).__name__}")
    if _is_quoted(token):
        raise ValueError("token is in quotes, and the quotes are part of it: remove them")
    trimmed = Secret(token.get_secret_value().strip())
    if not _is_visible_ascii(trimmed.get_secret_value()):
        raise ValueError(
            "token is empty, or has spaces, control or non-ASCII characters: an HTTP header cannot carry it"
        )
    return trimmed


def _is_visible_ascii(text: str) -> bool:
    # Not a regular expression: compiling it takes longer than everything else here, at the start of each process.
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
