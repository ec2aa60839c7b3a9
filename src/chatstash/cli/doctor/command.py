"""The command `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer
from rich.progress import Progress

from chatstash.cli.doctor.output import print_conversation, print_summary, report_as_json
from chatstash.cli.doctor.report import ConversationReport, DoctorReport
from chatstash.cli.doctor.run import DoctorRun
from chatstash.cli.running import keyboard_interrupts, usage_errors, warnings_on_stderr, without_server_text
from chatstash.cli.terminal import option, out
from chatstash.errors import ChatstashError, ReadOnlyToken
from chatstash.history import Store
from chatstash.history.doctor.diagnosis import DEFAULT_ABANDONED_AFTER
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.records.keys import DEFAULT_PREFIX, conversation_key
from chatstash.rest.limits import DEFAULT_TIMEOUT
from chatstash.rest.plan import MAX_TTL


def doctor(
    session_ids: Annotated[list[str] | None, typer.Argument(metavar="SESSION_ID", hidden=True)] = None,
    fix: Annotated[bool, option("--fix", "Repair problems. Without it, nothing is changed.")] = False,
    key_prefix: Annotated[str, option("--key-prefix PREFIX", "Prefix of the conversations' keys.")] = DEFAULT_PREFIX,
    url: Annotated[str, option("--url URL", "REST URL of the database; UPSTASH_REDIS_REST_URL by default.")] = "",
    ttl: Annotated[
        int | None,
        option("--ttl SECONDS", "Find conversations that never expire; --fix sets this ttl.", min=1, max=MAX_TTL),
    ] = None,
    abandoned_after: Annotated[
        float,
        option("--abandoned-after SECONDS", "Age at which a last turn without its tool results is abandoned.", min=0),
    ] = DEFAULT_ABANDONED_AFTER,
    as_json: Annotated[bool, option("--json", "Print one JSON document.")] = False,
    timeout: Annotated[float, option("--timeout SECONDS", "Time limit of each step, with retries.")] = DEFAULT_TIMEOUT,
) -> None:
    """Find damaged conversations, and repair them with --fix.

    Examines the conversations of the given session ids, or all under the key prefix. Finds unreadable records,
    duplicates, and tool calls and results that do not match. Never deletes a record.

    The token comes from UPSTASH_REDIS_REST_TOKEN.

    \b
    Exit codes:
      0    no problems, or all of them repaired
      1    problems remain, or a given session id has no conversation
      2    invalid usage, or an error kept the doctor from finishing
      130  interrupted by Ctrl-C
    """
    report = DoctorReport(fix=fix, key_prefix=key_prefix, named=bool(session_ids))
    with warnings_on_stderr(), usage_errors():
        keys = [conversation_key(session_id, key_prefix) for session_id in session_ids or []]
        store = Store(url, key_prefix=key_prefix, timeout=timeout)
        from chatstash.langchain.messages import why_unreadable  # noqa: PLC0415 - importing LangChain takes 0.3 s

        the_doctor = Doctor(store, why_unreadable, abandoned_after=abandoned_after)
    with closing(the_doctor), keyboard_interrupts():
        _run(the_doctor, report, keys, ttl, quiet=as_json)
    if as_json:
        typer.echo(report_as_json(report))
    else:
        print_summary(report)
    raise typer.Exit(report.exit_code)


def _run(the_doctor: Doctor, report: DoctorReport, named: Sequence[str], ttl: int | None, *, quiet: bool) -> None:
    """Examine the conversations, with a progress bar on a terminal, and print findings as they come."""
    with Progress(console=out, transient=True, disable=quiet or not out.is_terminal) as progress:
        task = progress.add_task("Listing conversations", total=None)

        def show(conversation: ConversationReport) -> None:
            progress.advance(task)
            if not quiet:
                print_conversation(conversation, fix=report.fix)

        run = DoctorRun(the_doctor, report, show)
        try:
            keys = list(dict.fromkeys(named)) or run.keys()
            progress.update(task, description="Examining conversations", total=len(keys), refresh=True)
            run.examine(keys)
            if ttl is not None:
                run.check_expiries(ttl)
        except KeyboardInterrupt:
            report.interrupted = True
        except ChatstashError as error:
            report.stopped_by = without_server_text(error)
            if isinstance(error, ReadOnlyToken):
                report.stopped_by += (
                    " A read-only token cannot list or repair conversations. To examine one, name it: "
                    "chatstash doctor SESSION_ID"
                )
