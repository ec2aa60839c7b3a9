"""Every command that an official SDK can send is answered by the local server or in the page's table of differences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import upstash_redis

from chatstash.local import LocalUpstash
from tests.interop.test_langchain_js import HERE, JS
from tests.local.client import Client

PAGE = Path(__file__).parents[2] / "docs" / "local.md"
PYTHON = Path(upstash_redis.__file__).parent
_PYTHON_COMMAND = re.compile(
    r'''(?:command(?:: ?List(?:\[[^\]]*\])?)? = |execute\(\s*(?:command=)?)\[\s*"([A-Z][A-Z._]+)"'''
)
_JS_COMMAND = re.compile(r'''(?:super\(\s*|const command\w* = )\[\s*"([A-Za-z._]+)"|\["((?:SEARCH|VECTOR)\.[A-Z]+)"''')
_NO_COMMAND = {"OVERFLOW"}


def lacking() -> list[str]:
    """Return what the table says of commands: names, or beginnings of names."""
    (row,) = re.findall(r"^\| commands that Valkey lacks: (.*?) \|", PAGE.read_text(), re.MULTILINE)
    return [name.rstrip("…") if name.endswith("…") else f"{name} " for name in re.findall(r"`([^`]+)`", row)]


def python_commands() -> set[str]:
    text = "".join(file.read_text() for file in PYTHON.glob("*.py"))
    return set(_PYTHON_COMMAND.findall(text)) - _NO_COMMAND


def js_commands() -> set[str]:
    text = "".join(file.read_text() for file in (JS / "node_modules/@upstash/redis").glob("chunk-*.mjs"))
    return {(one or other).upper() for one, other in _JS_COMMAND.findall(text)}


@pytest.mark.parametrize(
    "sdk",
    [
        "python",
        pytest.param(
            "javascript", marks=pytest.mark.skipif(not HERE, reason="Node is missing, or `npm ci` was not run")
        ),
    ],
)
def test_each_command_is_answered_or_in_the_table(upstash: LocalUpstash, sdk: str) -> None:
    names = python_commands() if sdk == "python" else js_commands()
    assert len(names) > 200, "the SDK has another shape: find its commands anew"
    client = Client(upstash)
    refused = {name for name in names if "is not available" in str(client.ask("/", [name])[1])}
    assert {name for name in refused if not f"{name} ".startswith(tuple(lacking()))} == set()
    # What the table says is lacking is.
    assert [entry for entry in lacking() if not any(f"{name} ".startswith(entry) for name in refused)] == (
        [] if sdk == "javascript" else ["VECTOR.", "AR"]
    )
