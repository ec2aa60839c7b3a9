"""What commands count as: Upstash bills each command, those within scripts too, and each write once more for each
read region. Pure.

https://upstash.com/docs/redis/overall/billing
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import hiredis

from chatstash.local.command_table import CommandTable
from chatstash.local.commands import EngineCommand, EngineReply
from chatstash.local.stats import Counted

COUNTS: EngineCommand = ["INFO", "commandstats"]
"""Asked before and after scripts: the difference is what they ran."""
_CALLS = re.compile(rb"^cmdstat_([^:]+):calls=(\d+)", re.MULTILINE)
_NOT_RUN = "ERR wrong number of arguments"


class Billing:
    """Counts commands.

    Args:
        table: What the engine says of its commands.
        read_regions: How many regions besides the leader's a write is copied to.
    """

    def __init__(self, table: CommandTable, read_regions: int) -> None:
        self._table = table
        self._read_regions = read_regions

    def counted(self, commands: Sequence[EngineCommand], within: Counter[str] | None = None) -> Counted:
        """Return what commands count as, together with those that their scripts ran."""
        writes = sum(map(self._table.writes, commands))
        scripted = within.total() if within else 0
        if within:
            writes += sum(count for name, count in within.items() if "write" in self._table.flags.get(name, ()))
        total = len(commands) + scripted
        return Counted(total + writes * self._read_regions, writes, scripted)

    def within_scripts(
        self, sent: Sequence[EngineCommand], replies: Sequence[EngineReply], before: EngineReply, after: EngineReply
    ) -> Counter[str]:
        """Return how often scripts ran which command.

        Args:
            sent: What the engine was sent, scripts and all.
            replies: What it answered.
            before: Its reply to `COUNTS` before that.
            after: Its reply to `COUNTS` after it.
        """
        ran = _calls(after) - _calls(before)
        ran.subtract(
            self._table.full_name_of(command)
            for command, reply in zip(sent, replies, strict=True)
            if not (isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_NOT_RUN))
        )
        ran.subtract([self._table.full_name_of(COUNTS)])
        return +ran


def _calls(info: EngineReply) -> Counter[str]:
    if not isinstance(info, bytes):
        return Counter()
    return Counter({name.decode().upper().replace("|", " "): int(calls) for name, calls in _CALLS.findall(info)})
