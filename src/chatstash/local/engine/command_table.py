"""The engine's commands and their flags: which ones write, which ones need memory. Pure.

https://valkey.io/commands/command/: the flags of each command and subcommand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chatstash.local.engine.commands import EngineReply, name_of, text_of

# Denied to a read-only token: Upstash documents the first three; MONITOR shows what other clients do.
_TOO_POWERFUL = {"SCAN", "CLUSTERSCAN", "KEYS", "MONITOR"}
# Not flagged as reads, but they write nothing.
_HARMLESS = {"PING", "ECHO", "TIME", "INFO", "COMMAND", "PUBSUB", "SUBSCRIBE", "PSUBSCRIBE"}


@dataclass(slots=True)
class CommandTable:
    """The flags of the engine's commands, by name in upper case (`GET`, `SCRIPT LOAD`)."""

    flags: dict[str, frozenset[str]] = field(default_factory=dict)
    containers: set[str] = field(default_factory=set)

    def learn(self, reply: EngineReply) -> None:
        """Fill the table from the engine's reply to COMMAND."""
        for entry in reply if isinstance(reply, list) else []:
            for row in [entry, *(entry[9] if len(entry) > 9 else [])]:
                self.flags[text_of(row[0]).upper().replace("|", " ")] = frozenset(map(text_of, row[2]))
        self.containers.update(name.partition(" ")[0] for name in self.flags if " " in name)

    def full_name_of(self, command: Sequence[str | bytes]) -> str:
        """Return a command's name, with its subcommand if it has one."""
        name = name_of(command)
        if name in self.containers and len(command) > 1:
            both = f"{name} {text_of(command[1]).upper()}"
            return both if both in self.flags else name
        return name

    def of_command(self, command: Sequence[str | bytes]) -> frozenset[str]:
        """Return a command's flags; an unknown command has none."""
        return self.flags.get(self.full_name_of(command), frozenset())

    def writes(self, command: Sequence[str | bytes]) -> bool:
        """Return whether a command itself writes."""
        return "write" in self.of_command(command)

    def reads(self, command: Sequence[str | bytes]) -> bool:
        """Return whether a replica can answer a command."""
        return "readonly" in self.of_command(command)

    def needs_memory(self, command: Sequence[str | bytes]) -> bool:
        """Return whether a command may make the data larger."""
        return "denyoom" in self.of_command(command)

    def is_for_readers(self, command: Sequence[str | bytes]) -> bool:
        """Return whether a read-only token may run a command."""
        name = name_of(command)
        return name not in _TOO_POWERFUL and (name in _HARMLESS or self.reads(command))
