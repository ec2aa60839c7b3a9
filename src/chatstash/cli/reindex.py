"""The command `reindex`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from chatstash.cli.running import keyboard_interrupts, usage_errors, warnings_on_stderr, without_server_text
from chatstash.cli.terminal import counted, errors, fail, option, out
from chatstash.errors import ChatstashError
from chatstash.history import Progress, ReindexResult, Store
from chatstash.history.records.keys import DEFAULT_PREFIX
from chatstash.rest.limits import DEFAULT_TIMEOUT
from chatstash.rest.plan import MAX_TTL


def reindex(
    key_prefix: Annotated[str, option("--key-prefix PREFIX", "Prefix of the conversations' keys.")] = DEFAULT_PREFIX,
    users_only: Annotated[bool, option("--users-only", "List only the conversations of users.")] = False,
    titles: Annotated[bool, option("--titles/--no-titles", "Store the first question as the title.")] = True,
    ttl: Annotated[
        int | None,
        option(
            "--ttl SECONDS",
            "The ttl of your Store, if it has one. With a shorter one, the index expires before its sessions.",
            min=1,
            max=MAX_TTL,
        ),
    ] = None,
    as_json: Annotated[bool, option("--json", "Print the result as one line of JSON.")] = False,
    url: Annotated[str, option("--url URL", "REST URL of the database; UPSTASH_REDIS_REST_URL by default.")] = "",
    timeout: Annotated[float, option("--timeout SECONDS", "Time limit of each step, with retries.")] = DEFAULT_TIMEOUT,
) -> None:
    """Bring the session index up to date.

    Lists the conversations that were stored without an index, by old libraries for example, and takes off those that
    others deleted. Titles that were set stay. Running it again changes nothing; if it is interrupted, run it again.

    Looks at every key of the database, which costs 3 commands for each 1,000 keys and about 9 for each conversation.
    The token comes from UPSTASH_REDIS_REST_TOKEN.

    \b
    Exit codes:
      0    done
      1    an error ended the run
      2    invalid usage
      130  interrupted by Ctrl-C
    """
    with warnings_on_stderr(), usage_errors():
        store = Store(url, key_prefix=key_prefix, index=not users_only, titles=titles, ttl=ttl, timeout=timeout)
    with store, keyboard_interrupts():
        result = _run(store, shows_progress=errors.is_terminal and not as_json)
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    listed, dropped = counted(result.listed, "session"), counted(result.dropped, "session")
    out.print(f"{listed} on the index; {dropped} taken off. {counted(result.cost.commands, 'command')} billed.")


def _run(store: Store, *, shows_progress: bool) -> ReindexResult:
    if not shows_progress:
        return _reindexed(store, None)
    columns = (TextColumn("Looking at keys"), BarColumn(), MofNCompleteColumn())
    with ProgressBar(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.scanned, total=max(progress.scanned, progress.total))

        return _reindexed(store, show)


def _reindexed(store: Store, show: Callable[[Progress], None] | None) -> ReindexResult:
    try:
        return store.reindex(on_progress=show)
    except KeyboardInterrupt:
        errors.print("Interrupted. What was found so far is on the index; run it again for the rest.")
        raise typer.Exit(130) from None
    except ChatstashError as error:
        fail(without_server_text(error))
