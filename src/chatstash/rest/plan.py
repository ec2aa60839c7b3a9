"""What every database of Upstash accepts: the sizes of keys and requests, and expiries. Pure."""

from __future__ import annotations

MAX_KEY_BYTES = 32 * 1024
"""Upstash's limit for a key: https://upstash.com/docs/redis/troubleshooting/max_key_size_exceeded"""

MAX_TTL = 10**9
"""Seconds; about 31 years. Redis refuses an expiry far above it as out of range."""

DEFAULT_MAX_REQUEST_BYTES = 10_000_000
"""Maximum request size of the free and the pay-as-you-go plan, 10 MB:
https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded"""

RESERVED_PREFIX = "chatstash:"
"""What the keys begin with that chatstash keeps beside conversations. No caller may choose such a key."""


def checked_ttl(ttl: int | None) -> int | None:
    """Return `ttl`, in seconds, or raise ValueError where it is not a whole number from 1 to 10^9."""
    if ttl is None:
        return None
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 1 <= ttl <= MAX_TTL:
        raise ValueError(
            f"ttl must be a whole number of seconds from 1 to {MAX_TTL}, or None to leave the expiry as it is, "
            f"not {ttl!r}"
        )
    return ttl


def utf8(text: str, name: str) -> bytes:
    """Return a text as UTF-8, or raise ValueError where it cannot be encoded; `name` is what the error calls it."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the {name} contains half a surrogate pair, which UTF-8 cannot encode: {text[:80]!r}"
        ) from None


def checked_size(key: str, name: str) -> str:
    """Return a key, or raise ValueError where it is too long; `name` says what it consists of."""
    if (size := len(utf8(key, name))) > MAX_KEY_BYTES:
        raise ValueError(f"the key ({name}) has {size} bytes; the limit is {MAX_KEY_BYTES}")
    return key


def checked_prefix(prefix: object) -> str:
    """Return a key prefix, or raise ValueError where it is no string, or reserved."""
    if not isinstance(prefix, str):
        raise ValueError(f"key_prefix must be a string, not {prefix!r}")
    if prefix.startswith(RESERVED_PREFIX):
        raise ValueError(f"keys that begin with {RESERVED_PREFIX!r} are reserved: use another key_prefix")
    return checked_size(prefix, "key_prefix")
