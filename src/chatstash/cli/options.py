"""The options of `serve` and `dev`, as types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from chatstash.local import PLANS


def _port(name: str, help: str) -> Any:
    return Option(name, min=0, max=65535, metavar="N", help=f"{help}; 0 picks a free one.")


def _limit(name: str, help: str) -> Any:
    return Option(name, min=0, metavar="N", help=f"{help}; overrides the plan, 0 removes the limit.")


Port = Annotated[int, _port("--port", "Port to listen on")]
ControlPort = Annotated[int, _port("--control-port", "Loopback port of the control endpoint (counters, log, faults)")]
Host = Annotated[
    str,
    Option("--host", metavar="ADDRESS", help="Address to listen on; other machines can reach any but loopback."),
]
Token = Annotated[
    str | None,
    Option(
        "--token", envvar="CHATSTASH_TOKEN", metavar="TOKEN", help="Token that clients must send; random by default."
    ),
]
ReadOnlyToken = Annotated[
    str | None,
    Option(
        "--read-only-token",
        envvar="CHATSTASH_READ_ONLY_TOKEN",
        metavar="TOKEN",
        help="A second token, which can only read.",
    ),
]
Database = Annotated[
    list[str] | None,
    Option("--database", metavar="TOKEN=URL", help="Serve another Redis under this token. Repeatable."),
]
Trace = Annotated[bool, Option("--trace", help="Print each request as it is answered.")]
Json = Annotated[bool, Option("--json", help="Print the environment variables as one line of JSON.")]
Data = Annotated[Path | None, Option("--data", metavar="DIR", help="Keep the data in this directory across restarts.")]
Fsync = Annotated[
    str,
    Option(
        "--fsync",
        metavar="MODE",
        help="With --data: sync writes every second (everysec), or before each reply (always).",
    ),
]
Redis = Annotated[
    str, Option("--redis", metavar="URL", help="Use this Redis or Valkey instead of the embedded Valkey.")
]
Plan = Annotated[str, Option("--plan", metavar="NAME", help=f"Apply the limits of this plan: {', '.join(PLANS)}.")]
MaxRequestBytes = Annotated[int | None, _limit("--max-request-bytes", "Maximum size of a command or reply, in bytes")]
MaxRecordBytes = Annotated[int | None, _limit("--max-record-bytes", "Maximum size of a key's value, in bytes")]
MaxKeyBytes = Annotated[int | None, _limit("--max-key-bytes", "Maximum length of a key's name, in bytes")]
MaxDataBytes = Annotated[int | None, _limit("--max-data-bytes", "Maximum size of all data, in bytes")]
MaxCommands = Annotated[int | None, _limit("--max-commands", "Maximum number of billed commands")]
ReadRegions = Annotated[
    int,
    Option("--read-regions", min=0, metavar="N", help="Read regions. Each bills every write once more."),
]
ReplicaLag = Annotated[
    int | None,
    Option(
        "--replica-lag",
        metavar="MS",
        min=0,
        max=3_600_000,
        help="Serve reads without a fresh sync token from a replica that lags this much.",
    ),
]
Faults = Annotated[
    list[str] | None,
    Option(
        "--fault",
        metavar="FAULT",
        help="Inject a fault, such as reply_lost:probability=0.1, delay:seconds=0.02,jitter=0.01 or "
        "throttled:times=2,matching=LPUSH. docs/local.md lists all. Repeatable.",
    ),
]
Seed = Annotated[int | None, Option("--seed", metavar="N", help="Seed that makes random faults repeatable.")]
