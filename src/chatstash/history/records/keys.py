"""Every key name, and why none can collide.

- A conversation is at `{key_prefix}{session_id}`: the layout of langchain-community's class, so that both read the
  same data. That of a user is at `{key_prefix}@{user}/{session_id}`, the user's id percent-encoded, so that it holds no
  `/`. A session id of no user that looks like this is refused. So no id reaches a conversation of another user.
- Every other key that chatstash stores, a companion, begins with `chatstash:`. A conversation's key that begins so is
  refused. So no prefix or session id can collide with a companion.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

from chatstash.rest.plan import RESERVED_PREFIX, checked_size, utf8

DEFAULT_PREFIX = "message_store:"
COMPANION_PREFIX = RESERVED_PREFIX

_USER = re.compile(r"@([^/]*)/")
_OWNER = re.compile(r"[^@]*@[^/]*/")

ALTERNATIVES, DRAFT, QUARANTINE = "alternatives", "draft", "quarantine"
"""The kinds of companions that hold messages."""

IN_FLIGHT_TTL = 3600
"""Seconds for which the marker of a write and the place of a batch are kept: far longer than a request can be in
flight."""


def conversation_key(session_id: str, key_prefix: str = DEFAULT_PREFIX, user_id: str | None = None) -> str:
    """Return the key of a conversation."""
    _check_session_id(session_id)
    if user_id is None and _USER.match(session_id):
        raise ValueError(
            f"a session_id that begins with '@' and has a '/' belongs to a user: {session_id!r:.80}. Pass user_id=, or "
            "open the whole key with Store.session_at"
        )
    return checked_key(owner_of(key_prefix, user_id) + session_id)


def _check_session_id(session_id: object) -> None:
    if not isinstance(session_id, str):
        hint = "" if session_id is None else "; convert it with str()"
        raise ValueError(f"session_id must be a string, not {session_id!r:.80}{hint}")
    if not session_id:
        raise ValueError("session_id must not be empty: users would share one conversation")


def owner_of(key_prefix: str, user_id: str | None = None) -> str:
    """Return the prefix of the keys of a user's conversations; without a user, the key prefix."""
    if not isinstance(key_prefix, str):
        raise ValueError(f"key_prefix must be a string, not {key_prefix!r}")
    if user_id is None:
        return key_prefix
    if not isinstance(user_id, str) or not user_id:
        raise ValueError(f"user_id must be a non-empty string, or None for no user, not {user_id!r:.80}")
    utf8(user_id, "user_id")
    owner = f"{key_prefix}@{quote(user_id, safe='')}/"
    if _owner_in(owner) != owner:
        raise ValueError(f"key_prefix must not have an '@' and a '/' after it where users have ids: {key_prefix!r}")
    return checked_size(owner, "key_prefix and user_id")


class Owned(NamedTuple):
    """The parts of a conversation's key.

    Attributes:
        owner: What it begins with: the key prefix, and the user if there is one.
        user_id: The user's id, or None.
        session_id: The session id.
    """

    owner: str
    user_id: str | None
    session_id: str

    @property
    def key(self) -> str:
        """The key."""
        return self.owner + self.session_id

    def sibling(self, session_id: str) -> Owned:
        """Return another session of the same user, or raise ValueError where its id is invalid."""
        _check_session_id(session_id)
        if self.user_id is None:
            conversation_key(session_id, self.owner)
        sibling = self._replace(session_id=session_id)
        if checked_key(sibling.key) == self.key:
            raise ValueError(f"the new session_id must differ from the present one: {session_id!r:.80}")
        return sibling


def owned(key: str, key_prefix: str) -> Owned | None:
    """Return the parts of a conversation's key; None where it does not begin with the prefix."""
    if not key.startswith(key_prefix) or key == key_prefix:
        return None
    user = _USER.match(key, len(key_prefix))
    if user is None or user.end() == len(key) or quote(unquote(user[1]), safe="") != user[1]:
        return Owned(key_prefix, None, key[len(key_prefix) :])
    return Owned(key[: user.end()], unquote(user[1]), key[user.end() :])


def conversation_named(session_id: str, key_prefix: str) -> Owned:
    """Return the conversation whose key is a prefix and a session id, which may name a user, as `@user/id` does."""
    _check_session_id(session_id)
    key = checked_key(key_prefix + session_id)
    return owned(key, key_prefix) or Owned(key_prefix, None, session_id)


def companion_key(kind: str, key: str, *more: str) -> str:
    """Return a companion key: `chatstash:<kind>:<sha256 of its key>`, then `:<part>` for each part.

    The companions of a user's conversations name the user, too: `chatstash:<kind>:<sha256 of the owner>/<sha256 …>`.
    """
    return ":".join((COMPANION_PREFIX + kind, f"{_owner_digest(_owner_in(key))}{_digest(key)}", *more))


def kept_beside(key: str) -> list[str]:
    """Return the keys of the companions that are deleted with a conversation.

    Markers are not: a late request must still find them. They expire.
    """
    return [companion_key(kind, key) for kind in (ALTERNATIVES, DRAFT, QUARANTINE)]


def companions_pattern(owner: str) -> str:
    """Return the pattern of SCAN that matches the companions of all conversations of a user."""
    return f"{COMPANION_PREFIX}*:{_owner_digest(owner)}*"


def _owner_in(key: str) -> str:
    """Return the beginning of a key, up to the `/` after the first `@`; empty where it has none."""
    found = _OWNER.match(key)
    return found[0] if found else ""


def _owner_digest(owner: str) -> str:
    return f"{_digest(owner)}/" if owner else ""


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


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
