"""The example of an agent in FastAPI, and the one of the docstring."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("langchain.agents", exc_type=ImportError)

from chatstash.langchain import ChatHistoryMiddleware
from chatstash.local import LocalUpstash
from tests.local.test_pytest_plugin import ROOT, run_pytest


def test_the_example_passes() -> None:
    assert "3 passed" in run_pytest(ROOT / "examples" / "agent")


def test_the_docstrings_example_runs(upstash: LocalUpstash, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", inspect.getdoc(ChatHistoryMiddleware) or "", re.DOTALL)
    environment = {"PATH": "/usr/bin:/bin", **upstash.environment}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert upstash.stats.writes


def test_everything_public_is_documented() -> None:
    members = {name: member for name, member in vars(ChatHistoryMiddleware).items() if inspect.isfunction(member)}
    assert all(inspect.getdoc(member) for name, member in members.items() if not name.startswith("_"))
    help_text = inspect.getdoc(ChatHistoryMiddleware) or ""
    mine = [name for name in members["__init__"].__annotations__ if name not in ("return", "options")]
    assert [name for name in mine if f"    {name}: " not in help_text and f"{name}: " not in help_text] == []
