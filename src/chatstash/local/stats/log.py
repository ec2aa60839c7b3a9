"""The log of requests: no more of a command than its name and first argument, and no secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from chatstash.local.engine.commands import EngineCommand, name_of, text_of
from chatstash.local.stats.masking import Masker

_LONGEST_KEY = 200
_MOST_COMMANDS = 100
# Their arguments are scripts or passwords.
_NAME_ONLY = {"EVAL", "EVAL_RO", "AUTH", "HELLO", "ACL", "CONFIG", "MIGRATE"}


class LoggedRequest(NamedTuple):
    """One request in the log.

    The tokens of the server and the passwords of its engines are `***`, in any encoding.

    Attributes:
        number: Counted from 1.
        time: When it was answered, in milliseconds since the epoch.
        kind: `command`, `pipeline`, `transaction`, `events`, or `refused` if it was none of these.
        commands: The first hundred commands, each as `LPUSH message_store:abc`.
        command_count: The number of commands.
        status: The status code of the reply.
        error: The first error in the reply; empty if there is none.
        bytes_received: Size of the request's body, in bytes.
        bytes_sent: Size of the reply's body, in bytes.
        billed_commands: The commands that Upstash would bill.
        seconds: The time from the complete request to the complete reply.
        fault: The kind of the fault that hit it; empty if none did.
        replica: Whether a lagging replica answered.
    """

    number: int
    time: int
    kind: str
    commands: tuple[str, ...]
    command_count: int
    status: int
    error: str
    bytes_received: int
    bytes_sent: int
    billed_commands: int
    seconds: float
    fault: str = ""
    replica: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return self._asdict()


def described(commands: Sequence[EngineCommand], mask: Masker) -> tuple[str, ...]:
    """Return commands as the log shows them."""
    return tuple(_described(command, mask) for command in commands[:_MOST_COMMANDS])


def _described(command: EngineCommand, mask: Masker) -> str:
    name = name_of(command)
    if len(command) == 1 or name in _NAME_ONLY:
        return mask(name)
    # Masked before it is cut, because a cut could leave the first half of a secret.
    key = mask(text_of(command[1][: _LONGEST_KEY + mask.longest]))[:_LONGEST_KEY]
    return f"{mask(name)} {key}"
