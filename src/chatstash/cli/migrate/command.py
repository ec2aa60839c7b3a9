"""The command `migrate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.progress import Progress

from chatstash.cli.migrate.output import conversation_as_json, print_conversation, print_summary, summary_as_json
from chatstash.cli.migrate.report import ConversationReport, HowToImport, MigrationReport
from chatstash.cli.missing_packages import how_to_install
from chatstash.cli.running import keyboard_interrupts, usage_errors, warnings_on_stderr, without_server_text
from chatstash.cli.terminal import fail, option, out
from chatstash.errors import ChatstashError, ReadOnlyToken
from chatstash.history import Store
from chatstash.history.records.keys import DEFAULT_PREFIX, conversation_named
from chatstash.rest.limits import DEFAULT_TIMEOUT
from chatstash.rest.plan import MAX_TTL

if TYPE_CHECKING:
    from chatstash.cli.migrate.run import MigrationRun

_NewRun: TypeAlias = "Callable[[Callable[[ConversationReport], None]], MigrationRun]"

DEFAULT_CHECKPOINT_PREFIX = "checkpoints:"


def migrate(
    sessions: Annotated[
        list[str] | None, option("--session ID", "Import the conversation of this session id. Repeatable.")
    ] = None,
    key_prefix: Annotated[str, option("--key-prefix PREFIX", "Prefix of the conversations' keys.")] = DEFAULT_PREFIX,
    thread_prefix: Annotated[str, option("--thread-prefix PREFIX", "Put before the session id in thread ids.")] = "",
    checkpoint_prefix: Annotated[
        str, option("--checkpoint-prefix PREFIX", "The key_prefix of your UpstashRedisSaver.")
    ] = DEFAULT_CHECKPOINT_PREFIX,
    messages_key: Annotated[str, option("--messages-key NAME", "Channel of the messages in the state.")] = "messages",
    ttl: Annotated[
        int | None, option("--ttl SECONDS", "Expiry of the threads; none by default.", min=1, max=MAX_TTL)
    ] = None,
    merge: Annotated[bool, option("--merge", "Add missing messages also to threads in use.")] = False,
    skip_unreadable: Annotated[bool, option("--skip-unreadable", "Leave out records that cannot be read.")] = False,
    dry_run: Annotated[bool, option("--dry-run", "Show what would be done; store nothing.")] = False,
    as_json: Annotated[bool, option("--json", "Print a line of JSON for each conversation, then one summary.")] = False,
    url: Annotated[str, option("--url URL", "REST URL of the database; UPSTASH_REDIS_REST_URL by default.")] = "",
    timeout: Annotated[float, option("--timeout SECONDS", "Time limit of each step, with retries.")] = DEFAULT_TIMEOUT,
) -> None:
    """Import conversations into LangGraph threads.

    Imports the conversations of the given session ids, or all under the key prefix, for UpstashRedisSaver. The thread
    of a conversation has its session id as id. Conversations are not changed. Running it again imports only what is
    new, and goes on where an earlier run was interrupted.

    The token comes from UPSTASH_REDIS_REST_TOKEN.

    \b
    Exit codes:
      0    all conversations are in their threads
      1    some are not, or records were left out
      2    invalid usage, or an error ended the run
      130  interrupted by Ctrl-C
    """
    report = MigrationReport(dry_run=dry_run)
    with warnings_on_stderr(), usage_errors():
        named = list(dict.fromkeys(sessions or []))
        for session_id in named:
            conversation_named(session_id, key_prefix)
        if not messages_key:
            raise ValueError("--messages-key must not be empty")
        store = Store(url, key_prefix=key_prefix, timeout=timeout)
        how = HowToImport(thread_prefix, messages_key, merge, skip_unreadable, dry_run)
        new_run = _new_run(store, checkpoint_prefix, ttl, how, report)
    with store, keyboard_interrupts():
        _run(new_run, report, named, as_json=as_json)
    if as_json:
        typer.echo(summary_as_json(report))
    else:
        print_summary(report)
    raise typer.Exit(report.exit_code)


def _new_run(
    store: Store, checkpoint_prefix: str, ttl: int | None, how: HowToImport, report: MigrationReport
) -> _NewRun:
    """Return a function that makes the run; exits if LangGraph is not installed."""
    try:
        from chatstash.cli.migrate.run import MigrationRun  # noqa: PLC0415 - optional packages, which take 0.3 s
        from chatstash.langgraph import UpstashRedisSaver  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("chatstash"):
            raise
        fail(f"the package {error.name} is missing: {how_to_install('migrate')}")
    return partial(
        MigrationRun, store, UpstashRedisSaver(store=store, key_prefix=checkpoint_prefix, ttl=ttl), how, report
    )


def _run(new_run: _NewRun, report: MigrationReport, named: Sequence[str], *, as_json: bool) -> None:
    """Import the conversations, with a progress bar on a terminal, and print each as it is done."""
    with Progress(console=out, transient=True, disable=as_json or not out.is_terminal) as progress:
        task = progress.add_task("Importing conversations", total=len(named) or None)

        def show(done: ConversationReport) -> None:
            progress.advance(task)
            if as_json:
                typer.echo(conversation_as_json(done))
            else:
                print_conversation(done, dry_run=report.dry_run)

        run = new_run(show)
        try:
            run.migrate(named or run.stored_sessions(), named=bool(named))
        except KeyboardInterrupt:
            report.interrupted = True
        except ChatstashError as error:
            report.stopped_by = without_server_text(error)
            if isinstance(error, ReadOnlyToken):
                report.stopped_by += (
                    " A read-only token cannot list conversations or store threads. It can show what would be done, "
                    "if you name them: chatstash migrate --dry-run --session ID"
                )
