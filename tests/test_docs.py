"""The documentation: every snippet runs, every public name and option is written of."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import chatstash
from chatstash.local import LocalUpstash

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(match[1], id=f"{page.name}-{number}")
    for page in PAGES
    for number, match in enumerate(re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_runs(upstash: LocalUpstash, snippet: str, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(snippet)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": "/usr/bin:/bin", **upstash.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_docstrings_example_runs(upstash: LocalUpstash, tmp_path: Path) -> None:
    for thing in (chatstash.UpstashRedisChatMessageHistory, LocalUpstash):
        for match in re.finditer(r"```python\n(.*?)```", inspect.getdoc(thing) or "", re.DOTALL):
            test_every_snippet_runs(upstash, textwrap.dedent(match[1]), tmp_path)


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 7


def test_every_public_name_is_in_the_api_page() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in chatstash.__all__ if name != "__version__" and name not in page] == []


def test_every_parameter_is_in_the_api_page() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for thing in (chatstash.UpstashRedisChatMessageHistory, chatstash.Store, chatstash.Store.session):
        for name in inspect.signature(thing).parameters:
            assert name == "self" or f"`{name}`" in page or f"{name}: " in page, name


def test_every_option_of_the_command_line_is_in_the_local_page() -> None:
    page = (ROOT / "docs" / "local.md").read_text()
    for command in ("serve", "dev"):
        done = subprocess.run(
            [sys.executable, "-m", "chatstash", command, "--help"], capture_output=True, text=True, check=True
        )
        for option in set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}:
            assert option in page, f"{command} {option}"


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
