"""The command `cost`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from chatstash.cli.estimate import Month, Usage, month_of, old_month_of
from chatstash.cli.prices import AS_OF, FREE, NOT_VERIFIED, PAY_AS_YOU_GO, SOURCE

_out = Console(highlight=False, soft_wrap=True)

_MOST = 10**9


def cost(
    daily_users: Annotated[int, typer.Option(min=0, max=_MOST, metavar="N", help="Users a day.")] = 1000,
    turns_per_user: Annotated[
        int, typer.Option(min=0, max=_MOST, metavar="N", help="Turns of each user a day, in one conversation.")
    ] = 10,
    messages_per_turn: Annotated[
        int, typer.Option(min=0, max=_MOST, metavar="N", help="Messages that a turn adds.")
    ] = 2,
    message_bytes: Annotated[
        int, typer.Option(min=0, max=_MOST, metavar="N", help="Bytes of a message as it is stored, its JSON included.")
    ] = 1000,
    with_ttl: Annotated[
        bool, typer.Option("--with-ttl/--no-ttl", help="Whether conversations expire; without, storage grows.")
    ] = True,
    ttl_days: Annotated[
        float | None,
        typer.Option(max=36_500, metavar="DAYS", help="How long a conversation is kept.", show_default="30"),
    ] = None,
    regions: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Regions of the database, the primary one included.")
    ] = 1,
    idempotency: Annotated[
        bool, typer.Option("--idempotency", help="Messages are added with an idempotency key, or with strict delivery.")
    ] = False,
    guarded: Annotated[bool, typer.Option("--guarded", help="Turns are guarded, by turn().")] = False,
    refresh_ttl_on_read: Annotated[
        bool, typer.Option("--refresh-ttl-on-read", help="Reading refreshes the expiry.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Estimate a monthly bill of Upstash.

    The bill of langchain-community's class is shown beside it. Makes no request. Each user has one conversation a day,
    and each turn reads it and adds messages.
    """
    if idempotency and guarded:
        raise typer.BadParameter("a guarded turn takes no idempotency key: give --idempotency or --guarded")
    if not with_ttl and ttl_days is not None:
        raise typer.BadParameter("without a ttl nothing expires: give --no-ttl or --ttl-days")
    if not with_ttl and refresh_ttl_on_read:
        raise typer.BadParameter("without a ttl there is no expiry to refresh: give --no-ttl or --refresh-ttl-on-read")
    if ttl_days is not None and not ttl_days > 0:
        raise typer.BadParameter("conversations would expire at once: give --ttl-days more than 0")
    usage = Usage(
        daily_users,
        turns_per_user,
        messages_per_turn,
        message_bytes,
        (30 if ttl_days is None else ttl_days) if with_ttl else None,
        regions=regions,
        idempotency=idempotency,
        guarded=guarded,
        refresh=refresh_ttl_on_read,
    )
    ours, theirs = month_of(usage), old_month_of(usage)
    if as_json:
        typer.echo(json.dumps(_document(ours, theirs), indent=2))
    else:
        _print(usage, ours, theirs)


def _document(ours: Month, theirs: Month) -> dict[str, Any]:
    return {
        "chatstash": _as_json(ours),
        "langchain_community": _as_json(theirs),
        "prices_as_of": AS_OF.isoformat(),
        "prices_from": SOURCE,
        "not_verified": list(NOT_VERIFIED),
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


def _print(usage: Usage, ours: Month, theirs: Month) -> None:
    _out.print(f"{usage.monthly_turns:,} turns a month", style="bold")
    table = Table("", "chatstash", "langchain-community", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    mine, old = _lines(ours), _lines(theirs)
    for name, shown in mine.items():
        table.add_row(name, shown, old[name], style="bold" if name == "total" else "")
    _out.print(table)
    if usage.ttl_days is None:
        _out.print("Without a ttl nothing expires: storage is that after the first month, and grows by it each month.")
    _out.print(_of_prices(), style="dim")


def _lines(month: Month) -> dict[str, str]:
    bill = month.bill
    return {
        "requests": f"{month.requests:,}",
        "commands, as billed": f"{month.commands:,}",
        "bandwidth": f"{month.moved_gb:,.2f} GB",
        "storage": f"{month.stored_gb:,.2f} GB",
        "for commands": f"${bill['commands']:,.2f}",
        "for storage": f"${bill['storage']:,.2f}",
        "for bandwidth": f"${bill['bandwidth']:,.2f}",
        "total": f"${bill['total']:,.2f}",
        "within the free plan": "yes" if month.is_free else "no",
    }


def _of_prices() -> str:
    plan = PAY_AS_YOU_GO
    return (
        f"Pay as you go, as of {AS_OF:%Y-%m-%d}: ${plan.command * 100_000:.2f} for 100,000 commands, each write once "
        f"more for each further region; ${plan.stored_gb:.2f} a GB-month after the first {plan.free_stored_gb:g} GB; "
        f"${plan.moved_gb:.2f} a GB of bandwidth after the first {plan.free_moved_gb:g} GB a month. "
        f"Free: {FREE.commands:,} commands, {FREE.stored_gb * 1000:g} MB, {FREE.moved_gb:g} GB of bandwidth. "
        f"Not verified: {'; '.join(NOT_VERIFIED)}. Look at {SOURCE} before you rely on it."
    )
