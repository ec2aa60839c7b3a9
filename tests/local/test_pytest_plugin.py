"""The fixtures, as a project that only installs chatstash[local] and pytest sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run_pytest(folder: Path, *arguments: str, **variables: str) -> str:
    """Run pytest in a folder, where all must pass; what it printed."""
    done = pytest_in(folder, *arguments, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytest_in(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip


def test_the_example_project_passes() -> None:
    assert "6 passed" in run_pytest(ROOT / "examples" / "testing", "-n", "2")


def test_a_proxy_is_not_asked_for_what_is_local() -> None:
    dead = "http://127.0.0.1:1"
    assert "6 passed" in run_pytest(
        ROOT / "examples" / "testing", HTTP_PROXY=dead, http_proxy=dead, NO_PROXY="x.example"
    )


def test_a_test_that_ends_the_engine_harms_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import time\n"
        "def test_one(upstash):\n"
        "    upstash._engine.stop()\n"
        "    assert not upstash.is_running\n"
        "def test_two(upstash):\n"
        "    upstash.flush()\n"
    )
    assert "2 passed" in run_pytest(tmp_path)


def test_tests_share_nothing_that_they_leave_behind(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        """
import os, time, urllib.request, pytest

@pytest.mark.parametrize("number", range(4))
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
    assert "6 passed" in run_pytest(tmp_path)


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
    assert "pip install 'chatstash[local]'" in pytest_in(tmp_path).stdout
