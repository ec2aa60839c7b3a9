"""The command `doctor`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from chatstash.cli.doctor_report import clean, print_report, print_visit, report_as_json
from chatstash.cli.rounds import Report, Round, in_own_words
from chatstash.errors import ChatstashError, ChatstashWarning, ReadOnlyToken
from chatstash.history import Store
from chatstash.history.doctor.diagnosis import DEFAULT_OLDER_THAN, Unreadable
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.records.keys import DEFAULT_PREFIX, MAX_TTL, conversation_key
from chatstash.rest.limits import DEFAULT_TIMEOUT

_out = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def doctor(
    session_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION_ID", help="The conversations to look at; all, if none is named."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Repair what is found. Without it nothing is changed.")] = False,
    key_prefix: Annotated[str, typer.Option(help="What the conversations' keys begin with.")] = DEFAULT_PREFIX,
    url: Annotated[str, typer.Option(help="The database's REST URL; else that of UPSTASH_REDIS_REST_URL.")] = "",
    ttl: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_TTL, metavar="SECONDS", help="Give every key without an expiry this one."),
    ] = None,
    older_than: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Take a last turn that waits for a tool's result for broken off after this."
        ),
    ] = DEFAULT_OLDER_THAN,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long one step may take, retries included.")
    ] = DEFAULT_TIMEOUT,
) -> None:
    """Find damaged conversations, and with --fix repair them. Nothing is ever deleted.

    Damage is: records that cannot be read, duplicates, and tool calls and results that do not match.

    The token is that of UPSTASH_REDIS_REST_TOKEN. Exit code: 0 all is well, 1 damage remains or a conversation that was
    named does not exist, 2 something failed.
    """
    report = Report(fix=fix, prefix=key_prefix)
    with _warnings_shown(), _usage_errors():
        store = Store(url, key_prefix=key_prefix, timeout=timeout)
        keys = [conversation_key(session_id, key_prefix) for session_id in session_ids or []]
        the_doctor = Doctor(store, _langchains_judgement(), older_than=older_than)
    try:
        _go_round(Round(the_doctor, report, named=bool(keys)), keys, ttl, quiet=as_json)
    except KeyboardInterrupt:
        report.interrupted = True
    except ChatstashError as error:
        report.stopped_by = _explained(error)
    finally:
        the_doctor.close()
    if as_json:
        typer.echo(report_as_json(report))
    else:
        print_report(_out, _errors, report)
    raise typer.Exit(report.exit_code)


def _langchains_judgement() -> Unreadable:
    from chatstash.langchain.messages import why_unreadable  # noqa: PLC0415 - LangChain takes 0.3 s to import

    return why_unreadable


def _go_round(round_: Round, named: list[str], ttl: int | None, *, quiet: bool) -> None:
    """Visit all conversations, with a bar on a terminal, printing what is found as it is found."""
    report, printed = round_.report, 0
    with Progress(console=_out, transient=True, disable=quiet or not _out.is_terminal) as progress:
        task = progress.add_task("Listing conversations", total=None)
        keys = list(dict.fromkeys(named)) or round_.keys()
        progress.update(task, description="Examining conversations", total=len(keys), refresh=True)
        try:
            for number, _ in enumerate(round_.visits(keys, ttl), start=1):
                progress.update(task, completed=min(number, len(keys)))
                printed = _print_from(printed, report, quiet=quiet)
        finally:
            # What was under way when it was interrupted, or when the database failed.
            _print_from(printed, report, quiet=quiet)


def _print_from(number: int, report: Report, *, quiet: bool) -> int:
    """Print the visits from that number on; returns how many there are."""
    for visit in report.visits[number:] if not quiet else []:
        print_visit(_out, visit, fix=report.fix)
    return len(report.visits)


def _explained(error: ChatstashError) -> str:
    if isinstance(error, ReadOnlyToken):
        return (
            f"{in_own_words(error)} A read-only token can neither list conversations nor repair them; it can look at "
            "those that are named: chatstash doctor SESSION_ID"
        )
    return in_own_words(error)


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        _errors.print(Text.assemble(("chatstash: ", "red"), clean(str(error))))
        raise typer.Exit(2) from None


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Print warnings in words, once each, without the line of code they come from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ChatstashWarning)
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        _errors.print(Text.assemble(("Warning: ", "bold red"), clean(text)))
