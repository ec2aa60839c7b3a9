"""The options of `serve` and `dev`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from chatstash.local import PLANS

Plan = enum.StrEnum("Plan", {name.replace("-", "_"): name for name in PLANS})  # type: ignore[misc] # made of a table


class Fsync(enum.StrEnum):
    """When writes to a data directory are forced to disk."""

    everysec = "everysec"
    always = "always"


def _port(name: str, help: str) -> Any:
    return typer.Option(name, min=0, max=65535, metavar="N", help=f"{help}; 0 picks a free one.")


def _limit(name: str, help: str) -> Any:
    return typer.Option(name, min=0, metavar="N", help=f"{help}; overrides the plan, 0 removes the limit.")


PortOption = Annotated[int, _port("--port", "Port to listen on")]
ControlPortOption = Annotated[
    int, _port("--control-port", "Loopback port of the control endpoint (counters, log, faults)")
]
HostOption = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Address to listen on. Any address but loopback lets other machines connect.",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="CHATSTASH_TOKEN", metavar="TOKEN", help="Token that clients must send; random by default."
    ),
]
ReadOnlyTokenOption = Annotated[
    str | None,
    typer.Option(
        "--read-only-token",
        envvar="CHATSTASH_READ_ONLY_TOKEN",
        metavar="TOKEN",
        help="A second token, which can only read.",
    ),
]
DatabaseOption = Annotated[
    list[str] | None,
    typer.Option("--database", metavar="TOKEN=URL", help="Serve another Redis under this token. Repeatable."),
]
TraceOption = Annotated[bool, typer.Option("--trace", help="Print each request as it is answered.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the environment variables as one line of JSON.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Keep the data in this directory across restarts.")
]
FsyncOption = Annotated[
    Fsync,
    typer.Option("--fsync", help="With --data: force writes to disk every second, or before each reply."),
]
RedisOption = Annotated[
    str, typer.Option("--redis", metavar="URL", help="Use this Redis or Valkey instead of the embedded Valkey.")
]
PlanOption = Annotated[
    Plan, typer.Option("--plan", metavar="NAME", help=f"Apply the limits of this plan: {', '.join(PLANS)}.")
]
MaxRequestOption = Annotated[
    int | None, _limit("--max-request-bytes", "Maximum size of a command, and of its reply, in bytes")
]
MaxRecordOption = Annotated[int | None, _limit("--max-record-bytes", "Maximum size of a key's value, in bytes")]
MaxKeyOption = Annotated[int | None, _limit("--max-key-bytes", "Maximum length of a key's name, in bytes")]
MaxDataOption = Annotated[int | None, _limit("--max-data-bytes", "Maximum size of all data, in bytes")]
MaxCommandsOption = Annotated[int | None, _limit("--max-commands", "Maximum number of billed commands")]
ReadRegionsOption = Annotated[
    int,
    typer.Option(
        "--read-regions", min=0, metavar="N", help="Number of read regions. Each bills every write once more."
    ),
]
ReplicaLagOption = Annotated[
    int | None,
    typer.Option(
        "--replica-lag", metavar="MS", min=0, max=3_600_000,
        help="Answer reads without a fresh sync token from a replica this many milliseconds behind.",
    ),
]  # fmt: skip
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", metavar="FAULT",
        help="Inject a fault, such as reply_lost:probability=0.1, delay:seconds=0.02,jitter=0.01 or "
        "throttled:times=2,matching=LPUSH. docs/local.md lists all. Repeatable.",
    ),
]  # fmt: skip
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Seed that makes random faults repeatable.")
]
