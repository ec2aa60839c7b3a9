"""The options of `serve` and `dev`, as types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from chatstash.cli.terminal import option
from chatstash.local import PLANS


def _port(usage: str, help: str) -> Any:
    return option(usage, f"{help}; 0 picks a free one.", min=0, max=65535)


def _limit(usage: str, help: str) -> Any:
    return option(usage, f"{help}; overrides the plan, 0 removes the limit.", min=0)


Port = Annotated[int, _port("--port N", "Port to listen on")]
ControlPort = Annotated[int, _port("--control-port N", "Loopback port of the control endpoint (counters, log, faults)")]
Host = Annotated[
    str, option("--host ADDRESS", "Address to listen on. Any address but loopback lets other machines connect.")
]
Token = Annotated[
    str | None,
    option("--token TOKEN", "Token that clients must send; random by default.", envvar="CHATSTASH_TOKEN"),
]
ReadOnlyToken = Annotated[
    str | None,
    option("--read-only-token TOKEN", "A second token, which can only read.", envvar="CHATSTASH_READ_ONLY_TOKEN"),
]
Database = Annotated[list[str] | None, option("--database TOKEN=URL", "Another Redis for this token. Repeatable.")]
Trace = Annotated[bool, option("--trace", "Print each request as it is answered.")]
Json = Annotated[bool, option("--json", "Print the environment variables as one line of JSON.")]
Data = Annotated[Path | None, option("--data DIR", "Keep the data in this directory across restarts.")]
Fsync = Annotated[
    str, option("--fsync MODE", "With --data: sync writes every second (everysec), or before each reply (always).")
]
Redis = Annotated[str, option("--redis URL", "Use this Redis or Valkey instead of the embedded Valkey.")]
Plan = Annotated[str, option("--plan NAME", f"Apply the limits of this plan: {', '.join(PLANS)}.")]
MaxRequestBytes = Annotated[int | None, _limit("--max-request-bytes N", "Maximum size of a command or reply, in bytes")]
MaxRecordBytes = Annotated[int | None, _limit("--max-record-bytes N", "Maximum size of a key's value, in bytes")]
MaxKeyBytes = Annotated[int | None, _limit("--max-key-bytes N", "Maximum length of a key's name, in bytes")]
MaxDataBytes = Annotated[int | None, _limit("--max-data-bytes N", "Maximum size of all data, in bytes")]
MaxCommands = Annotated[int | None, _limit("--max-commands N", "Maximum number of billed commands")]
ReadRegions = Annotated[int, option("--read-regions N", "Read regions. Each bills every write once more.", min=0)]
ReplicaLag = Annotated[
    int | None,
    option("--replica-lag MS", "Lag, in milliseconds, of a replica for reads without a fresh sync token.", min=0),
]
Faults = Annotated[
    list[str] | None,
    option(
        "--fault FAULT",
        "Inject a fault, such as reply_lost:probability=0.1, delay:seconds=0.02,jitter=0.01 or "
        "throttled:times=2,matching=LPUSH. docs/local.md lists all. Repeatable.",
    ),
]
Seed = Annotated[int | None, option("--seed N", "Seed that makes random faults repeatable.")]
