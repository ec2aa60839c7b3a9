"""The fixtures, as a project that only installs chatstash[local] and pytest sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run_pytest(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_the_example_project_passes(arguments: tuple[str, ...]) -> None:
    output = run_pytest(ROOT / "examples" / "testing", *arguments)
    assert " passed" in output, output
    assert "failed" not in output
    assert "error" not in output


def test_tests_do_not_meet_whatever_they_leave_behind(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        """
import os, time, urllib.request, pytest

@pytest.mark.parametrize("number", range(30))
def test_alone(upstash, number):
    assert upstash.stats.requests == 0 and upstash.log == []
    def run(path):
        return urllib.request.urlopen(f"{upstash.url}{path}?_token={upstash.token}").read()
    assert run("/dbsize") == b'{"result":0}'
    run(f"/set/key{number}/v")
    assert upstash.stats.requests == 2
    upstash.faults.add("server_error", matching="GET")
    upstash.faults.next(None, None)

def test_environment(upstash_environment):
    assert os.environ["UPSTASH_REDIS_REST_URL"] == upstash_environment.url
    assert os.environ["UPSTASH_REDIS_REST_TOKEN"] == upstash_environment.token

def test_environment_is_as_before():
    assert "UPSTASH_REDIS_REST_TOKEN" not in os.environ
"""
    )
    for arguments in ((), ("-n", "2"), ("-n", "3", "--dist", "each")):
        output = run_pytest(tmp_path, *arguments)
        assert "failed" not in output, output
        assert " passed" in output


def test_options_are_for_a_conftest_to_give(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def upstash_options():\n    return {'token': 'ours', 'plan': 'free', 'control_port': 0}\n"
    )
    (tmp_path / "test_it.py").write_text(
        "def test_it(upstash):\n    assert upstash.token == 'ours'\n    assert upstash.control_url\n"
    )
    assert "1 passed" in run_pytest(tmp_path)


def test_who_does_not_use_it_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n"
        "    heavy = {'chatstash.local', 'httptools', 'aiohttp', 'langchain_core', 'uvloop', 'typer'}\n"
        "    loaded = heavy & set(sys.modules)\n"
        "    assert not loaded\n"
    )
    assert "1 passed" in run_pytest(tmp_path, "-p", "no:langsmith_plugin", "-p", "no:anyio")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['httptools'] = None\n")
    (tmp_path / "test_it.py").write_text("def test_it(upstash):\n    pass\n")
    assert "pip install 'chatstash[local]'" in run_pytest(tmp_path)
