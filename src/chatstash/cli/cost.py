"""The command `cost`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from chatstash.cli import prices
from chatstash.cli.estimate import Month, Usage, month_of, old_month_of
from chatstash.cli.terminal import option, out

_DEFAULT_TTL_DAYS = 30.0

_NOT_VERIFIED = "\n".join(f"  {text}" for text in prices.NOT_VERIFIED)
_PRICES = f"""
Pay-as-you-go prices as of {prices.AS_OF:%Y-%m-%d}:
  ${prices.COMMAND * 100_000:.2f} per 100,000 commands; each further region bills a write once more
  ${prices.MOVED_GB:.2f} per GB of bandwidth, after {prices.FREE_MOVED_GB:g} GB a month
  ${prices.STORED_GB:.2f} per GB of storage a month, after {prices.FREE_STORED_GB:g} GB
Free plan, per month:
  {prices.PLAN_COMMANDS:,} commands, {prices.PLAN_MOVED_GB:g} GB of bandwidth, \
{prices.PLAN_STORED_GB * 1000:g} MB of storage
Not verified:
{_NOT_VERIFIED}
Check {prices.SOURCE} before you rely on this."""


def _count(usage: str, help: str, min: int = 0) -> Any:
    return option(usage, help, min=min)


def cost(
    daily_users: Annotated[int, _count("--daily-users N", "Users a day.")] = 1000,
    turns_per_user: Annotated[int, _count("--turns-per-user N", "Turns of each user a day, in one conversation.")] = 10,
    messages_per_turn: Annotated[int, _count("--messages-per-turn N", "Messages that a turn adds.")] = 2,
    message_bytes: Annotated[
        int, _count("--message-bytes N", "Size of a stored message in bytes, with its JSON.")
    ] = 1000,
    ttl_days: Annotated[
        float | None, option("--ttl-days DAYS", "Days until a conversation expires; 30 by default.", min=0, max=36_500)
    ] = None,
    no_ttl: Annotated[bool, option("--no-ttl", "Conversations never expire, so storage grows.")] = False,
    regions: Annotated[int, _count("--regions N", "Regions of the database, with the primary one.", min=1)] = 1,
    idempotency: Annotated[
        bool, option("--idempotency", "Add messages with an idempotency key, or with strict delivery.")
    ] = False,
    guarded: Annotated[bool, option("--guarded", "Run turns in guarded_turn().")] = False,
    refresh_ttl_on_read: Annotated[bool, option("--refresh-ttl-on-read", "Let each read refresh the expiry.")] = False,
    as_json: Annotated[bool, option("--json", "Print one JSON document.")] = False,
) -> None:
    """Estimate a monthly Upstash bill.

    Compares chatstash with langchain-community's class, and makes no request. Each user has one conversation a day;
    each turn reads it and adds messages.
    """
    if idempotency and guarded:
        raise typer.BadParameter("use either --idempotency or --guarded: a guarded turn takes no idempotency key")
    if no_ttl and ttl_days is not None:
        raise typer.BadParameter("use either --no-ttl or --ttl-days")
    usage = Usage(
        daily_users,
        turns_per_user,
        messages_per_turn,
        message_bytes,
        None if no_ttl else _DEFAULT_TTL_DAYS if ttl_days is None else ttl_days,
        regions=regions,
        idempotency=idempotency,
        guarded=guarded,
        refresh=refresh_ttl_on_read,
    )
    ours, theirs = month_of(usage), old_month_of(usage)
    if as_json:
        typer.echo(json.dumps(_document(ours, theirs), indent=2))
        return
    out.print(f"{usage.monthly_turns:,} turns a month", style="bold")
    out.print(_table(ours, theirs))
    if no_ttl:
        out.print("Conversations never expire: storage grows by this much each month.")
    out.print(_PRICES, style="dim")


def _document(ours: Month, theirs: Month) -> dict[str, Any]:
    return {
        "chatstash": _as_json(ours),
        "langchain_community": _as_json(theirs),
        "prices_as_of": prices.AS_OF.isoformat(),
        "prices_from": prices.SOURCE,
        "not_verified": prices.NOT_VERIFIED,
    }


def _as_json(month: Month) -> dict[str, Any]:
    return {
        "requests": month.requests,
        "commands": month.commands,
        "bandwidth_gb": round(month.moved_gb, 6),
        "storage_gb": round(month.stored_gb, 6),
        "bill": {name: round(dollars, 4) for name, dollars in month.bill.items()},
        "within_free_plan": month.is_free,
    }


def _table(ours: Month, theirs: Month) -> Table:
    table = Table("", box=None, pad_edge=False)
    for name in ("chatstash", "langchain-community"):
        table.add_column(name, justify="right")
    for (name, value), old_value in zip(_rows(ours).items(), _rows(theirs).values(), strict=True):
        table.add_row(name, value, old_value, style="bold" if name == "total" else "")
    return table


def _rows(month: Month) -> dict[str, str]:
    bill = {f"cost of {name}": f"${month.bill[name]:,.2f}" for name in ("commands", "bandwidth", "storage")}
    return {
        "requests": f"{month.requests:,}",
        "billed commands": f"{month.commands:,}",
        "bandwidth": f"{month.moved_gb:,.2f} GB",
        "storage": f"{month.stored_gb:,.2f} GB",
        **bill,
        "total": f"${month.bill['total']:,.2f}",
        "within the free plan": "yes" if month.is_free else "no",
    }
