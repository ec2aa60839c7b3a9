"""What Upstash bills: each command, also within scripts, and each write once more for each read region. Pure.

https://upstash.com/docs/redis/overall/billing
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import hiredis

from chatstash.local.engine.command_table import CommandTable
from chatstash.local.engine.commands import EngineCommand, EngineReply
from chatstash.local.stats.counters import Counted

COUNTS: EngineCommand = ["INFO", "commandstats"]
"""Sent before and after scripts; the difference is what they ran."""
_CALLS = re.compile(rb"^cmdstat_([^:]+):calls=(\d+)", re.MULTILINE)
_NOT_RUN = "ERR wrong number of arguments"


@dataclass(frozen=True)
class Billing:
    """Counts commands; each write once more for each of `read_regions`."""

    table: CommandTable
    read_regions: int

    def count(self, commands: Sequence[EngineCommand], scripted: Counter[str] | None = None) -> Counted:
        """Count the commands, including those run by scripts."""
        writes = sum(map(self.table.writes, commands))
        scripted = scripted or Counter()
        writes += sum(count for name, count in scripted.items() if "write" in self.table.flags.get(name, ()))
        billed = len(commands) + scripted.total() + writes * self.read_regions
        return Counted(billed, writes, scripted.total())

    def within_scripts(
        self, sent: Sequence[EngineCommand], replies: Sequence[EngineReply], before: EngineReply, after: EngineReply
    ) -> Counter[str]:
        """Return how often scripts ran each command."""
        ran = _calls(after) - _calls(before)
        ran.subtract(
            self.table.full_name_of(command)
            for command, reply in zip(sent, replies, strict=True)
            if not (isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_NOT_RUN))
        )
        ran.subtract([self.table.full_name_of(COUNTS)])
        return +ran

    def reads_within_scripts(
        self, sent: Sequence[EngineCommand], replies: Sequence[EngineReply], before: EngineReply, after: EngineReply
    ) -> Counter[str]:
        """Return how often scripts on a replica ran each command, without what the leader's stream ran meanwhile."""
        ran = self.within_scripts(sent, replies, before, after)
        return Counter({name: count for name, count in ran.items() if self._is_read(name.split())})

    def _is_read(self, name: Sequence[str]) -> bool:
        return self.table.reads(name) or self.table.is_for_readers(name)


def _calls(info: EngineReply) -> Counter[str]:
    if not isinstance(info, bytes):
        return Counter()
    return Counter({name.decode().upper().replace("|", " "): int(calls) for name, calls in _CALLS.findall(info)})
