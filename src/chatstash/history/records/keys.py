"""Every key name, and why none can collide.

- A conversation is at `{key_prefix}{session_id}`: the layout of langchain-community's class, so that both read the
  same data.
- Every other key that chatstash stores, a companion, begins with `chatstash:`. A conversation's key that begins so is
  refused. So no prefix or session id can collide with a companion.
"""

from __future__ import annotations

from hashlib import sha256

from chatstash.rest.plan import RESERVED_PREFIX, checked_size, utf8

DEFAULT_PREFIX = "message_store:"
COMPANION_PREFIX = RESERVED_PREFIX

IN_FLIGHT_TTL = 3600
"""Seconds for which the marker of a write and the place of a batch are kept: far longer than a request can be in
flight."""


def conversation_key(session_id: str, key_prefix: str = DEFAULT_PREFIX) -> str:
    """Return the key of a conversation."""
    if not isinstance(session_id, str):
        hint = "" if session_id is None else "; convert it with str()"
        raise ValueError(f"session_id must be a string, not {session_id!r:.80}{hint}")
    if not session_id:
        raise ValueError("session_id must not be empty: users would share one conversation")
    if not isinstance(key_prefix, str):
        raise ValueError(f"key_prefix must be a string, not {key_prefix!r}")
    return checked_key(key_prefix + session_id)


def companion_key(kind: str, key: str, *more: str) -> str:
    """Return a companion key: `chatstash:<kind>:<sha256 of its key>`, then `:<part>` for each part."""
    return ":".join((COMPANION_PREFIX + kind, sha256(key.encode()).hexdigest(), *more))


def checked_key(key: str) -> str:
    """Return `key`, or raise ValueError where it is invalid as a conversation's key."""
    if not isinstance(key, str) or not key:
        raise ValueError(f"a conversation's key must be a non-empty string, not {key!r}")
    if key.startswith(COMPANION_PREFIX):
        raise ValueError(f"keys that begin with {COMPANION_PREFIX!r} are reserved: use another key_prefix")
    utf8(key, "session_id or key_prefix")
    return checked_size(key, "key_prefix and session_id")


def checked_idempotency_key(idempotency_key: str) -> str:
    """Return `idempotency_key`, or raise ValueError where it is not a non-empty string."""
    if not isinstance(idempotency_key, str) or not idempotency_key:
        raise ValueError(f"idempotency_key must be a non-empty string, not {idempotency_key!r}")
    utf8(idempotency_key, "idempotency_key")
    return idempotency_key
