"""Environment variables that lead a program to the local server and to no other database. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1,localhost"
_URLS = {"UPSTASH_REDIS_REST_URL": "KV_REST_API_URL", "UPSTASH_REDIS_REST_TOKEN": "KV_REST_API_TOKEN"}
"""Upstash's names, and those of its Vercel integration; the JavaScript SDK reads both."""
_NAMES = re.compile(
    r"(?:.*_)?UPSTASH_(?:REDIS|KV|EMAIL|API_KEY)(?:_.*)?"
    r"|(?:.*_)?KV_(?:REST_API_.*|URL)"
    r"|(?:.*_)?REDIS(?:CLOUD|TOGO|GREEN)?_(?:.*_)?"
    r"(?:URL|URI|DSN|HOST|HOSTNAME|PORT|ENDPOINT|ADDR|ADDRESS|USER|USERNAME|PASS|PASSWORD|TOKEN|CONNECTION_STRING)",
    re.IGNORECASE,
)
# Not the hosts of Upstash's other products: qstash, and names that end in -vector or -search.
_VALUES = re.compile(r"rediss?://|\b(?!qstash)[a-z0-9-]+(?<!-vector)(?<!-search)\.upstash\.io\b", re.IGNORECASE)
_UPSTASH = re.compile(r"(?:.*_)?(?:UPSTASH|KV)_.*(?:TOKEN|PASSWORD|API_KEY|URL)", re.IGNORECASE)
_SHORTEST_SECRET = 8


def reaching_others(environ: Mapping[str, str]) -> list[str]:
    """Return the sorted names of the variables that lead to a Redis or an Upstash database.

    A variable is recognised by its name (`UPSTASH_REDIS_…`, `KV_REST_API_…`, `KV_URL`, `REDIS_URL`, `REDIS_HOST`, …,
    with any prefix) or by its value: the address of a Redis or of an Upstash database, or text with its token.
    """
    named = {name: value for name, value in environ.items() if _NAMES.fullmatch(name)}
    secrets = {secret for name, value in named.items() if _UPSTASH.fullmatch(name) and (secret := _secret(value))}
    return sorted(
        name
        for name, value in environ.items()
        if name in named or _VALUES.search(value) or any(secret in value for secret in secrets)
    )


def environment_with(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that leads to the local server only."""
    others = set(reaching_others(environ))
    kept = {name: value for name, value in environ.items() if name not in others}
    return {**kept, **without_proxy(environ), **all_names(variables)}


def all_names(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the local server, also under Vercel's names."""
    return {**variables, **{other: variables[name] for name, other in _URLS.items() if name in variables}}


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `NO_PROXY` and `no_proxy` as set, with the addresses of the local server added."""
    kept = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    value = f"{kept},{LOOPBACK}" if kept else LOOPBACK
    return {"NO_PROXY": value, "no_proxy": value}


def _secret(value: str) -> str:
    """Return the password of a URL, or the value itself as a token; empty if too short to be a secret."""
    try:
        url = urlsplit(value)
        secret = (url.password or "") if url.scheme else value
    except ValueError:
        secret = value
    return secret if len(secret) >= _SHORTEST_SECRET else ""
