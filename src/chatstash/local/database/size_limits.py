"""Keeps writes within the sizes of a plan. Writes are measured only when the data is close to a limit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chatstash.local.database.plans import Limits, data_too_large, too_large
from chatstash.local.engine.command_table import CommandTable
from chatstash.local.engine.commands import EngineCommand, EngineReply, bytes_of, name_of, runs_script, size_of
from chatstash.local.engine.connection import EngineConnection

# The memory that one write may take beyond the bytes of its command.
_OVERHEAD = 256
# Commands that may add more data than their own size.
_GROWS_BY_ITSELF = {"SETRANGE", "SETBIT", "BITFIELD", "BITOP", "COPY", "RESTORE", "APPEND", "SORT"}
_MANY_RECORDS = {"MSET", "MSETNX"}
_REPLACES = {"SET", "SETEX", "PSETEX", "MSET", "GETSET", "RESTORE"}
_NOT_DATA = ("mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer", "mem_total_replication_buffers")
_NUMBER = re.compile(rb"^([a-z_]+):(\d+)\r?$", re.MULTILINE)


class SizeLimits:
    """Keeps writes within the sizes of a plan."""

    def __init__(self, limits: Limits, table: CommandTable) -> None:
        self._limits = limits
        self._table = table
        self._empty = 0
        self._room = 0
        self._least = min(filter(None, (limits.max_record_bytes, limits.max_data_bytes)), default=None)

    async def open(self, engine: EngineConnection) -> None:
        """Measure the memory of an empty engine."""
        memory, keys = await engine.run([["INFO", "memory"], ["DBSIZE"]])
        numbers = _numbers(memory)
        self._empty = _used(numbers) if keys == 0 else numbers.get("used_memory_startup", 0)

    def may_exceed(self, commands: Sequence[EngineCommand]) -> bool:
        """Return whether any of these commands may exceed a size, so that `errors` must check them."""
        longest_key = self._limits.max_key_bytes
        for command in commands:
            if self._may_grow(command) or (longest_key is not None and size_of(command) > longest_key):
                return True
        return False

    async def errors(self, engine: EngineConnection, commands: Sequence[EngineCommand]) -> dict[int, str]:
        """Return the errors of the commands that would exceed a size, by position."""
        found = await self._long_keys(engine, commands)
        if self._least is not None and any(map(self._may_grow, commands)):
            growing = [(position, command) for position, command in enumerate(commands) if self._may_grow(command)]
            found |= await self._full(engine, growing)
        return found

    def _may_grow(self, command: EngineCommand) -> bool:
        name = name_of(command)
        return self._table.needs_memory(command) or (runs_script(name) and not name.endswith("_RO"))

    async def _long_keys(self, engine: EngineConnection, commands: Sequence[EngineCommand]) -> dict[int, str]:
        limit = self._limits.max_key_bytes
        if limit is None:
            return {}
        numbered = enumerate(commands)
        long = [(place, each) for place, each in numbered if any(len(bytes_of(word)) > limit for word in each)]
        if not long:
            return {}
        # The engine tells which words are keys.
        replies = await engine.run([["COMMAND", "GETKEYS", *command] for _, command in long])
        found = {}
        for (place, _), keys in zip(long, replies, strict=True):
            longest = max(map(len, keys)) if isinstance(keys, list) else 0
            if longest > limit:
                found[place] = too_large("key", limit, longest)
        return found

    async def _full(self, engine: EngineConnection, growing: Sequence[tuple[int, EngineCommand]]) -> dict[int, str]:
        cost = sum(2 * size_of(command) + _OVERHEAD for _, command in growing)
        unbounded = any(name_of(command) in _GROWS_BY_ITSELF or runs_script(name_of(command)) for _, command in growing)
        if cost <= self._room and not unbounded:
            self._room -= cost
            return {}
        used = await self._measure(engine)
        assert self._least is not None
        # After a command that may add more than its own size, the next one measures again.
        self._room = 0 if unbounded else self._least - used - cost
        limit = self._limits.max_data_bytes
        if limit is not None and used >= limit:
            return {place: data_too_large(limit, used) for place, _ in growing}
        return await self._large_records(engine, growing, used + cost, unbounded=unbounded)

    async def _measure(self, engine: EngineConnection) -> int:
        (memory,) = await engine.run([["INFO", "memory"]])
        return max(0, _used(_numbers(memory)) - self._empty)

    async def _large_records(
        self, engine: EngineConnection, growing: Sequence[tuple[int, EngineCommand]], used: int, *, unbounded: bool
    ) -> dict[int, str]:
        limit = self._limits.max_record_bytes
        if limit is None or (used <= limit and not unbounded):
            return {}
        found = {}
        for place, command in growing:
            size = await self._size_after(engine, command)
            if size > limit:
                found[place] = too_large("single record", limit, size)
        return found

    async def _size_after(self, engine: EngineConnection, command: EngineCommand) -> int:
        """Return the size of the largest record that a command writes to, including what it adds."""
        (keys,) = await engine.run([["COMMAND", "GETKEYS", *command]])
        if not isinstance(keys, list) or runs_script(name_of(command)):
            return 0
        added = _grown(command)
        if name_of(command) in _REPLACES:
            return added
        sizes = await engine.run([["MEMORY", "USAGE", key, "SAMPLES", "0"] for key in keys])
        return max((size for size in sizes if isinstance(size, int)), default=0) + added


def _grown(command: EngineCommand) -> int:
    """Return how many bytes a command may add to one record."""
    if name_of(command) in _MANY_RECORDS:
        return max((len(bytes_of(word)) for word in command[2::2]), default=0)
    size = sum(len(bytes_of(word)) for word in command[2:])
    offset = command[2] if name_of(command) in ("SETRANGE", "SETBIT") and len(command) > 2 else b"0"
    try:
        return size + int(offset) // (8 if name_of(command) == "SETBIT" else 1)
    except ValueError:
        return size


def _numbers(info: EngineReply) -> dict[str, int]:
    found = _NUMBER.findall(info) if isinstance(info, bytes) else []
    return {name.decode(): int(value) for name, value in found}


def _used(numbers: dict[str, int]) -> int:
    return numbers.get("used_memory", 0) - sum(numbers.get(name, 0) for name in _NOT_DATA)
