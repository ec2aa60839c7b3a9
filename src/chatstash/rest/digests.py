"""Sends scripts by their digest, once the server has them.

The first use of a script sends its text, which the server keeps: https://redis.io/docs/latest/commands/evalsha/. Later
uses send 40 characters. A server that no longer has the script says so and runs nothing; then the text is sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from chatstash.errors import DatabaseError
from chatstash.rest.commands import Argument, Command, Reply
from chatstash.rest.endpoint import Endpoint

_BY_DIGEST = {"EVAL": "EVALSHA", "EVAL_RO": "EVALSHA_RO"}
_DIGEST_COMMANDS = frozenset(_BY_DIGEST.values())
_SHORTEST = 100
"""Characters; a shorter script is sent as it is."""
_MOST_SCRIPTS = 500
_MOST_MISSES = 8
"""A server that lacks a script so often in a row does not keep it."""
_MOST_ENDPOINTS = 128


class KnownScripts:
    """The scripts that one server keeps, as the first two words of the commands that run them by digest.

    EVALSHA and EVALSHA_RO are told apart: a token may run only one of them, and another replica may answer each. There
    is no lock, so that threads, signal handlers and forked children may use this: each step is one operation of a set
    or dict, and a lost update costs at most one longer request.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, as for a new server."""
        self._known: set[Command] = set()
        self._misses: dict[Command, int] = {}
        self._takes_digests = True

    def shortened(self, command: Command) -> Command:
        """Return a command that names its script by digest, if the server has it."""
        short = _digest_form(command)
        return short if short is not None and short[:2] in self._known and self._takes_digests else command

    def learn(self, sent: Iterable[Command], replies: Iterable[Reply]) -> None:
        """Note which scripts the server has, from the replies to commands as they were sent."""
        for command, reply in zip(sent, replies, strict=True):
            if isinstance(reply, DatabaseError):
                continue
            if command[0] in _DIGEST_COMMANDS:
                self._misses.pop(command[:2], None)
            elif (short := _digest_form(command)) is not None:
                self._add(short[:2])

    def forget(self, sent: Iterable[Command]) -> None:
        """Note that the server lacks a script of commands that were sent."""
        for command in sent:
            # Of requests that run at the same time, only the first counts.
            if command[:2] in self._known:
                self._known.discard(command[:2])
                self._misses[command[:2]] = self._misses.get(command[:2], 0) + 1

    def send_whole(self) -> None:
        """Note that the server runs no script by its digest."""
        self._takes_digests = False

    def _add(self, script: Command) -> None:
        if self._misses.get(script, 0) >= _MOST_MISSES:
            return
        if len(self._known) >= _MOST_SCRIPTS:
            self._known.clear()
            self._misses.clear()
        self._known.add(script)


_known: dict[Endpoint, KnownScripts] = {}


def known_scripts(endpoint: Endpoint) -> KnownScripts:
    """Return the scripts that the server at an endpoint keeps, as far as this process knows."""
    known = _known.setdefault(endpoint, KnownScripts())
    if len(_known) > _MOST_ENDPOINTS:
        _known.pop(next(iter(_known), endpoint), None)
    return known


def forget_scripts(url: str) -> None:
    """Forget the scripts of a server that was emptied, for all tokens."""
    for endpoint, known in list(_known.items()):
        if endpoint.url == url:
            known.clear()


def _digest_form(command: Command) -> Command | None:
    name = _BY_DIGEST.get(str(command[0]))
    if name is None or len(str(command[1])) < _SHORTEST:
        return None
    return (name, _digest(command[1]), *command[2:])


@lru_cache(maxsize=256)
def _digest(script: Argument) -> str:
    from hashlib import sha1  # noqa: PLC0415 - many processes run no script

    return sha1(str(script).encode(), usedforsecurity=False).hexdigest()
