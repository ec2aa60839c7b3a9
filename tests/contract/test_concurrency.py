"""Many conversations at once, several loops, threads and processes: right contents, no warning, no leak.

What counts warnings or descriptors runs in a process of its own, with the server in another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatstash.local import LocalUpstash, limits_of

SCRIPTS = Path(__file__).parent / "scripts"
_PLACES = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


def _run(
    script: str, upstash: LocalUpstash, *options: str, arguments: tuple[str, ...] = (), timeout: float = 110
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, str(SCRIPTS / script), *arguments],
        env={"PATH": "/usr/bin:/bin", **_PLACES, **upstash.environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# The latter tells of a busy machine.
_NO_NOISE = ("LangChainDeprecationWarning", "Executing <")


@pytest.mark.parametrize(
    "script",
    [
        "async_conversations.py",
        "threads.py",
        "processes.py",
        "ten_loops.py",
        "fork.py",
        "fork_async.py",
        "fork_in_loop.py",
        "fork_under_way.py",
        "exit_at_once.py",
        "exit_under_way.py",
        "cancelled.py",
        "closed_under_way.py",
        "handlers.py",
        "loops_left.py",
    ],
)
def test_in_a_process_of_its_own(upstash: LocalUpstash, script: str) -> None:
    _check(upstash, script)


def test_cancelled_at_each_await() -> None:
    with LocalUpstash(plan=limits_of("payg", max_request_bytes=130_000)) as upstash:
        _check(upstash, "cancelled_everywhere.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("color", ["sync", "async"])
def test_a_forked_child_takes_no_connection_of_its_parent(color: str) -> None:
    with LocalUpstash(control_port=0) as upstash:
        _check(upstash, "fork_connections.py", color)


def _check(upstash: LocalUpstash, script: str, *arguments: str) -> None:
    warnings = ("-X", "dev", "-W", "error::ResourceWarning", "-W", "error::RuntimeWarning")
    done = _run(script, upstash, *warnings, arguments=arguments)
    noise = [line for line in done.stderr.splitlines() if line and not any(word in line for word in _NO_NOISE)]
    assert (done.returncode, done.stdout.strip(), noise) == (0, "ok", [])


@pytest.mark.parametrize("script", ["interrupted.py", "interrupted_appends.py"])
def test_interruptions_at_any_moment(upstash: LocalUpstash, script: str) -> None:
    # Without -X dev: what is interrupted between two steps may leave a socket to the garbage collector.
    done = _run(script, upstash)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_signal_handler_reads_for_two_minutes(upstash: LocalUpstash) -> None:
    done = _run("handlers.py", upstash, arguments=("120",), timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr
