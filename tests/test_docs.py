"""The documentation: every snippet runs, every link leads somewhere, every public name and option is in its page."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, get_args

import pytest
import yaml

import chatstash
import chatstash.transfer
from chatstash.local import LocalUpstash
from chatstash.local.faults import FaultKind
from tests.interop.test_langchain_js import HERE, JS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
REPOSITORY = "https://github.com/chatstash/chatstash/"
_SNIPPET = re.compile(r'^```python(?: title="(?P<name>\w+\.py)")?\n(?P<code>.*?)^```', re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    """A snippet, and the files of its page that it may import."""

    code: str
    files: dict[str, str]


def _snippets_of(page: Path) -> Iterator[Snippet]:
    found = list(_SNIPPET.finditer(page.read_text()))
    files = {match["name"]: match["code"] for match in found if match["name"]}
    imported = {name for name in files for match in found if f"from {name.removesuffix('.py')} import" in match["code"]}
    return (Snippet(match["code"], files) for match in found if match["name"] not in imported)


SNIPPETS = [
    pytest.param(snippet, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, snippet in enumerate(_snippets_of(page))
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_runs(upstash: LocalUpstash, snippet: Snippet, tmp_path: Path) -> None:
    if "from langchain.agents" in snippet.code and int(version("langchain-core").partition(".")[0]) < 1:
        pytest.skip("agents of LangChain 1 need langchain-core 1")
    for package, name in (("langgraph", "langgraph"), ("agents", "openai_agents")):
        if f"from {package}" in snippet.code or f"chatstash.{name}" in snippet.code:
            pytest.importorskip(package)
    for name, code in snippet.files.items():
        (tmp_path / name).write_text(code)
    script = tmp_path / "test_snippet.py"
    script.write_text(snippet.code)
    as_test = ["-m", "pytest", "-p", "no:cacheprovider"] if "def test_" in snippet.code else []
    done = subprocess.run(
        [sys.executable, *as_test, str(script)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **upstash.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if promised := re.findall(r"# prints: (.*)", snippet.code):
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
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_workflow_for_ci_is_one() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "local.md").read_text(), re.MULTILINE | re.DOTALL)
    steps = yaml.safe_load(text)["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step][-1] == "chatstash dev -- npm test"


def test_the_workflow_runs_the_commands_of_ci() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    runs = " ".join(step["run"] for step in jobs["test"]["steps"] if "run" in step)
    targets = {*runs.split(), *jobs["more"]["strategy"]["matrix"]["target"]}
    wanted = re.findall(r"^make (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {target for line in wanted for target in line.split()} <= targets


def test_the_workflow_tests_every_python_that_is_supported() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == [
        found[1] for line in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", line))
    ]


def test_the_docstrings_example_runs(upstash: LocalUpstash, tmp_path: Path) -> None:
    for thing in (
        chatstash.UpstashRedisChatMessageHistory,
        chatstash.Codec,
        chatstash.MessagesTurn,
        chatstash.with_history,
        LocalUpstash,
    ):
        for match in re.finditer(r"```python\n(.*?)```", inspect.getdoc(thing) or "", re.DOTALL):
            test_every_snippet_runs(upstash, Snippet(textwrap.dedent(match[1]), {}), tmp_path)


def _entries() -> list[str]:
    """The names that have an entry in the reference, in full."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    entries = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    if "chatstash.errors" in entries:  # the module's entry has those of its names
        entries += [f"chatstash.{name}" for name in chatstash.errors.__all__]
    return entries


@pytest.mark.parametrize("module", [chatstash, chatstash.local, chatstash.transfer])
def test_every_public_name_has_an_entry_in_the_reference(module: ModuleType) -> None:
    entries = _entries()
    names = [f"{module.__name__}.{name}" for name in module.__all__ if name != "__version__"]
    assert [name for name in names if entries.count(name) != 1] == []


def test_the_tests_that_hold_a_guarantee_exist() -> None:
    named = re.findall(r"`([a-z_/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "reliability.md").read_text())
    assert len(named) >= 15
    for file, test in named:
        assert f"def {test or 'test_'}" in (ROOT / "tests" / file).read_text(), (file, test)


def test_the_tests_of_the_security_page_exist() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "docs" / "security.md").read_text()))
    assert len(named) >= 10
    assert named <= {file.name for file in (ROOT / "tests").rglob("test_*.py")}


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, *OTHERS]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_into_the_repository_lead_somewhere() -> None:
    """README is shown on PyPI as well, where a relative link leads nowhere."""
    assert re.findall(r"\]\((?!https?:|#)[^)]+\)", (ROOT / "README.md").read_text()) == []
    for page in [*PAGES, *OTHERS]:
        for path in re.findall(rf"\]\({REPOSITORY}(?:blob|tree)/main/([^)]+)\)", page.read_text()):
            target, _, anchor = path.partition("#")
            assert (ROOT / target).exists(), f"{page.name}: {path}"
            assert not anchor or anchor in _anchors(ROOT / target), f"{page.name}: {path}"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_headings() -> None:
    """Those of the reference are made by `make docs`, which checks links to them."""
    for page in [*PAGES, *OTHERS]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)", page.read_text()):
            linked = page.parent / target if target else page
            if linked.parent.name != "reference":
                assert anchor in _anchors(linked), f"{page.name}: {target}#{anchor}"


def test_every_fault_is_in_the_local_page() -> None:
    page = (ROOT / "docs" / "local.md").read_text()
    assert [kind for kind in get_args(FaultKind) if f"| `{kind}` |" not in page] == []


def test_the_architecture_page_names_modules_that_exist() -> None:
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", (ROOT / "docs" / "architecture.md").read_text())
    places = (ROOT / "src" / "chatstash", ROOT)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []
    assert len(named) > 30
