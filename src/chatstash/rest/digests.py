"""Sends scripts by their digest, once the server has them.

The first use of a script sends its text, which the server keeps: https://redis.io/docs/latest/commands/evalsha/. Later
uses send 40 characters. A server that no longer has the script says so and runs nothing; then the text is sent again.
"""

from __future__ import annotations

import threading
from collections import Counter
from functools import lru_cache
from hashlib import sha1

from chatstash.rest.commands import Command
from chatstash.rest.fork import register_fork_reset

_BY_DIGEST = {"EVAL": "EVALSHA", "EVAL_RO": "EVALSHA_RO"}
_SHORTEST = 100
"""Bytes; a shorter script is sent as it is."""
_MOST_REFUSALS = 3
"""A server that has forgotten a script so often does not keep it."""


class KnownScripts:
    """The scripts that one server keeps; safe for threads and forks."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._refusals: Counter[str] = Counter()
        self.reset_after_fork()
        register_fork_reset(self)

    def reset_after_fork(self) -> None:
        """Take a new lock: the old one may have been held when the process forked."""
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everything, as for a new server."""
        with self._lock:
            self._digests.clear()
            self._refusals.clear()

    def shortened(self, command: Command) -> Command:
        """Return a command that names its script by digest, if the server has it."""
        name = _BY_DIGEST.get(str(command[0]))
        digest = self._digests.get(str(command[1])) if name else None
        return command if name is None or digest is None else (name, digest, *command[2:])

    def learn(self, command: Command) -> None:
        """Note that a command was sent with its script, which the server now has."""
        script = str(command[1]) if command[0] in _BY_DIGEST else ""
        if len(script) < _SHORTEST or script in self._digests:
            return
        with self._lock:
            if self._refusals[script] < _MOST_REFUSALS:
                self._digests[script] = sha1(script.encode(), usedforsecurity=False).hexdigest()

    def forget(self, command: Command) -> None:
        """Note that the server no longer has the script of a command."""
        if command[0] in _BY_DIGEST:
            with self._lock:
                if self._digests.pop(str(command[1]), None) is not None:
                    self._refusals[str(command[1])] += 1


@lru_cache(maxsize=128)
def known_scripts(url: str) -> KnownScripts:  # noqa: ARG001 - the cache is by URL
    """Return the scripts that the server at a URL keeps, as far as this process knows."""
    return KnownScripts()
