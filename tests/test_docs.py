"""The documentation: every snippet runs, every public name and option is written of."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
import yaml

import chatstash
from chatstash.local import Fault, LocalUpstash
from chatstash.local.faults import FaultKind
from tests.interop.test_langchain_js import HERE, JS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(match[1], id=f"{page.name}-{number}")
    for page in PAGES
    for number, match in enumerate(re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_runs(upstash: LocalUpstash, snippet: str, tmp_path: Path) -> None:
    if "from langchain.agents" in snippet and int(version("langchain-core").partition(".")[0]) < 1:
        pytest.skip("agents of LangChain 1 need langchain-core 1")
    script = tmp_path / "test_snippet.py"
    script.write_text(snippet)
    as_test = ["-m", "pytest", "-p", "no:cacheprovider"] if "def test_" in snippet else []
    done = subprocess.run(
        [sys.executable, *as_test, str(script)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **upstash.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if promised := re.findall(r"# prints: (.*)", snippet):
        assert done.stdout.splitlines() == promised


JAVASCRIPT = [
    match[1]
    for page in PAGES
    for match in re.finditer(r"^```js\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
]


@pytest.mark.skipif(not HERE, reason="Node is missing, or `npm ci` was not run in tests/interop/js (make test does)")
@pytest.mark.parametrize("snippet", JAVASCRIPT)
def test_every_javascript_snippet_runs(snippet: str) -> None:
    with LocalUpstash(control_port=0) as upstash:
        done = subprocess.run(
            ["node", "--input-type=module", "-"], cwd=JS, input=snippet, env={**os.environ, **upstash.environment},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_workflow_for_ci_is_one() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "local.md").read_text(), re.MULTILINE | re.DOTALL)
    steps = yaml.safe_load(text)["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == "chatstash dev -- npm test"


def test_the_docstrings_example_runs(upstash: LocalUpstash, tmp_path: Path) -> None:
    for thing in (
        chatstash.UpstashRedisChatMessageHistory,
        chatstash.MessagesTurn,
        chatstash.with_history,
        LocalUpstash,
    ):
        for match in re.finditer(r"```python\n(.*?)```", inspect.getdoc(thing) or "", re.DOTALL):
            test_every_snippet_runs(upstash, textwrap.dedent(match[1]), tmp_path)


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 7


def test_every_public_name_is_in_the_api_page() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in chatstash.__all__ if name != "__version__" and name not in page] == []


def test_every_parameter_is_in_the_api_page() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for thing in (
        chatstash.UpstashRedisChatMessageHistory,
        chatstash.UpstashRedisChatMessageHistory.add_messages,
        chatstash.UpstashRedisChatMessageHistory.check_outcome,
        chatstash.Store,
        chatstash.Store.session,
        chatstash.Budget,
        chatstash.RetryPolicy,
        chatstash.with_history,
    ):
        for name in inspect.signature(thing).parameters:
            assert name == "self" or f"`{name}`" in page or f"{name}: " in page, name


@pytest.mark.parametrize(
    ("command", "name"), [("serve", "local.md"), ("dev", "local.md"), ("doctor", "doctor.md"), ("cost", "cost.md")]
)
def test_every_option_of_the_command_line_is_in_its_page(command: str, name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    done = subprocess.run(
        [sys.executable, "-m", "chatstash", command, "--help"], capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    assert options
    assert [option for option in options if option not in page] == []


def test_the_tests_that_hold_a_guarantee_exist() -> None:
    named = re.findall(r"`([a-z_/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "reliability.md").read_text())
    assert len(named) >= 15
    for file, test in named:
        assert f"def {test or 'test_'}" in (ROOT / "tests" / file).read_text(), (file, test)


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_headings() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)", page.read_text()):
            assert anchor in _anchors(page.parent / target if target else page), f"{page.name}: {target}#{anchor}"


def test_every_argument_of_the_local_server_and_every_fault_is_in_the_local_page() -> None:
    page = (ROOT / "docs" / "local.md").read_text()
    for thing in (LocalUpstash, Fault):
        for name in inspect.signature(thing).parameters:
            assert f"`{name}`" in page or f"`{name} (" in page or name in ("kind", "seconds", "jitter", "applied"), name
    for kind in get_args(FaultKind):
        assert f"| `{kind}` |" in page
