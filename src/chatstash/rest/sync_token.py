"""The read-your-writes token of each conversation.

Upstash answers each request with an opaque token. Sent with the next request, it makes the answering replica catch up
first (https://upstash.com/docs/redis/howto/readyourwrites). Tokens cannot be compared, so which of two to keep depends
on when their requests were sent and answered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from chatstash.rest.fork import register_fork_reset

_MAX_LENGTH = 4096


class _Lock:
    """One lock for all tokens, held for microseconds; a child process starts with a fresh one.

    It is re-entrant, because a signal handler may use a conversation while its thread holds the lock.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Replace the lock: a thread that does not exist here may hold it."""
        self.lock = threading.RLock()


_shared = _Lock()


class Ticket(NamedTuple):
    """A request in flight: its place in the order of sending, and how many writes were answered before it."""

    token: str | None
    sent: int
    writes: bool
    writes_answered: int


class SyncToken:
    """The newest read-your-writes token of a conversation. Safe to share between threads and event loops.

    - A write's reply replaces the token, unless a later write set it.
    - A read's reply replaces it only if no write was answered since the read was sent: the read may have run before
      that write.
    """

    __slots__ = ("_sent", "_token", "_write_sent", "_writes_answered")

    def __init__(self) -> None:
        self._token: str | None = None
        self._sent = 0
        self._write_sent = 0
        self._writes_answered = 0

    def start(self, *, writes: bool) -> Ticket:
        """Return a ticket for a request that is about to be sent; the request carries the ticket's `token`."""
        with _shared.lock:
            self._sent += 1
            return Ticket(self._token, self._sent, writes, self._writes_answered)

    @property
    def value(self) -> str | None:
        """The token that the next request carries; None before the first reply.

        A token that is set came from elsewhere, and counts as newer than all tokens received here. The reply to a write
        in flight replaces it; the reply to a read in flight does not.
        """
        return self._token

    @value.setter
    def value(self, token: str | None) -> None:
        if token is not None and not is_sync_token(token):
            raise ValueError("a sync token is 1 to 4096 printable ASCII characters without spaces, or None")
        with _shared.lock:
            self._token = token
            self._writes_answered += 1

    def finish(self, ticket: Ticket, token: str | None) -> None:
        """Keep the token of a reply if it is newer than the current one."""
        with _shared.lock:
            if ticket.writes:
                self._writes_answered += 1
                if token and ticket.sent > self._write_sent:
                    self._token, self._write_sent = token, ticket.sent
            elif token and ticket.writes_answered == self._writes_answered:
                self._token = token


def is_sync_token(token: object) -> bool:
    """Tell whether a value can be a sync token: a header can carry it, and it is not huge."""
    if not isinstance(token, str) or not 1 <= len(token) <= _MAX_LENGTH:
        return False
    return token.isascii() and token.isprintable() and " " not in token


class SyncTokens:
    """The sync tokens of a database's conversations: the `limit` most recently used ones."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._tokens: OrderedDict[str, SyncToken] = OrderedDict()

    def of(self, key: str) -> SyncToken:
        """Return the token of the conversation at `key`."""
        with _shared.lock:
            token = self._tokens.get(key) or self._tokens.setdefault(key, SyncToken())
            try:
                self._tokens.move_to_end(key)
            except KeyError:  # a signal handler pushed it out just now
                self._tokens[key] = token
            if len(self._tokens) > self._limit:
                self._tokens.popitem(last=False)
            return token
