"""The sync token of one conversation: what makes a read see the writes before it.

Upstash answers each request with an opaque token; sent back with the next request it makes the replica that answers
catch up first (https://upstash.com/docs/redis/howto/readyourwrites). Tokens cannot be compared, so which of two to
keep is decided by when their requests were sent and answered.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import NamedTuple

from chatstash.rest.fork import register_fork_reset

_SYNC_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)


class _Lock:
    """One lock for all tokens, held for microseconds; a child process begins with a fresh one.

    A signal handler may use a conversation while its own thread holds the lock, so it is re-entrant.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Take a fresh lock: the old one may have been held by a thread that does not exist here."""
        self.lock = threading.RLock()


_shared = _Lock()


class Ticket(NamedTuple):
    """A request under way: its place in the order of sending and what had been written before it."""

    token: str | None
    sent: int
    writes: bool
    writes_answered: int


class SyncToken:
    """The newest sync token of a conversation. Safe to share between threads and event loops.

    - A write's reply replaces the token, unless that came from a write sent later.
    - A read's reply replaces it only where no write was answered since the read was sent: a read that was under way
      must not replace the token of the write that overtook it.
    """

    __slots__ = ("_sent", "_token", "_write_sent", "_writes_answered")

    def __init__(self) -> None:
        self._token: str | None = None
        self._sent = 0
        self._write_sent = 0
        self._writes_answered = 0

    def start(self, *, writes: bool) -> Ticket:
        """Open a ticket for a request that is about to be sent; its `token` goes with the request."""
        with _shared.lock:
            self._sent += 1
            return Ticket(self._token, self._sent, writes, self._writes_answered)

    @property
    def value(self) -> str | None:
        """The token that goes with the next request; None where there is none yet.

        What is set came from elsewhere, and is taken to be newer than all that was answered here; the reply to a write
        that is under way replaces it, that to a read does not.

        Raises:
            ValueError: It cannot be a token: not text, empty, over 4096 characters, or not printable ASCII.
        """
        return self._token

    @value.setter
    def value(self, token: str | None) -> None:
        checked = None if token is None else checked_sync_token(token)
        with _shared.lock:
            self._token = checked
            self._writes_answered += 1

    def finish(self, ticket: Ticket, token: str | None) -> None:
        """Take the token of a reply, where it is newer than the one held."""
        with _shared.lock:
            if ticket.writes:
                self._finish_write(ticket, token)
            elif token and ticket.writes_answered == self._writes_answered:
                self._token = token

    def _finish_write(self, ticket: Ticket, token: str | None) -> None:
        self._writes_answered += 1
        if token and ticket.sent > self._write_sent:
            self._token, self._write_sent = token, ticket.sent


def is_sync_token(token: object) -> bool:
    """Tell whether a value could be a sync token: what can be sent in a header, and is not enormous."""
    return isinstance(token, str) and _SYNC_TOKEN.fullmatch(token) is not None


def checked_sync_token(token: str) -> str:
    """Return a sync token that came from elsewhere, or raise ValueError where it can be none."""
    if not is_sync_token(token):
        raise ValueError("a sync token is 1 to 4096 printable ASCII characters without spaces, or None")
    return token


class SyncTokens:
    """The sync tokens of a database's conversations; the least recently used are forgotten beyond `limit`."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._tokens: OrderedDict[str, SyncToken] = OrderedDict()

    def of(self, key: str) -> SyncToken:
        """Return the token of the conversation at `key`."""
        with _shared.lock:
            token = self._tokens.setdefault(key, SyncToken())
            try:
                self._tokens.move_to_end(key)
            except KeyError:  # a signal handler pushed it out just now
                self._tokens[key] = token
            if len(self._tokens) > self._limit:
                self._tokens.popitem(last=False)
            return token
