"""The options that `serve` and `dev` share."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from chatstash.local import PLANS

Plan = enum.StrEnum("Plan", {name.replace("-", "_"): name for name in PLANS})  # type: ignore[misc] # made of a table


class Fsync(enum.StrEnum):
    """When a data directory is forced to disk."""

    everysec = "everysec"
    always = "always"


DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Keep the data in this directory over restarts."),
]
RedisOption = Annotated[
    str,
    typer.Option("--redis", metavar="URL", help="Stand in front of this Redis or Valkey instead of the embedded one."),
]
FsyncOption = Annotated[
    Fsync,
    typer.Option(
        "--fsync", help="With --data: force writes to disk each second, or each before it is answered."
    ),
]  # fmt: skip
PlanOption = Annotated[
    Plan,
    typer.Option(
        "--plan",
        metavar="NAME",
        help=f"The limits of this plan: {', '.join(PLANS)}. The free one allows 500,000 commands.",
    ),
]
ReplicaLagOption = Annotated[
    int | None,
    typer.Option(
        "--replica-lag", metavar="MS", min=0, max=3_600_000,
        help="Answer reads without a fresh sync token from a replica that is so many milliseconds behind.",
    ),
]  # fmt: skip
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", metavar="FAULT",
        help="Let this go wrong: reply_lost:probability=0.1, delay:seconds=0.02,jitter=0.01, "
        "throttled:times=2,matching=LPUSH, and others (docs/local.md). May be given again.",
    ),
]  # fmt: skip
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Make the chances of faults repeatable."),
]


def limit_option(name: str, what: str) -> typer.models.OptionInfo:
    """Return the option that replaces one limit of the plan."""
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}", metavar="N", min=0, help=f"{what}, instead of the plan's; 0 for no limit."
    )
    return option


MaxRequestOption = Annotated[
    int | None, limit_option("max-request-bytes", "Bytes of one command, and of the reply to one")
]
MaxRecordOption = Annotated[int | None, limit_option("max-record-bytes", "Bytes of one key with all it holds")]
MaxKeyOption = Annotated[int | None, limit_option("max-key-bytes", "Bytes of a key's name")]
MaxDataOption = Annotated[int | None, limit_option("max-data-bytes", "Bytes of all data")]
MaxCommandsOption = Annotated[int | None, limit_option("max-commands", "Billed commands")]
