"""The official Node SDK, unmodified, against the local server. Needs Node and npm, as CI has them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from chatstash.local import LocalUpstash
from tests.interop.test_langchain_js import HERE, JS

pytestmark = pytest.mark.skipif(
    not HERE, reason="Node is missing, or `npm ci` was not run in tests/interop/js (make test does)"
)
NULL_REFUSED = 'UpstashError: ERR null args are not supported, command was: [["set","k",null]]'
NO_TYPES = (
    "UpstashError: ERR Command is not available: 'SCAN WITHTYPE'. See "
    'https://upstash.com/docs/redis/overall/rediscompatibility for details, command was: ["scan",0,"withtype"]'
)
WRONGTYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture(scope="module")
def results() -> Any:
    """What the SDK saw, family by family (see upstash.mjs)."""
    with LocalUpstash() as upstash:
        done = subprocess.run(
            ["node", "upstash.mjs"], cwd=JS, env={**os.environ, **upstash.environment},
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("values", ["OK", {"deep": [1, None, "naïve 😀"]}, 100, "OK", [1, "two", None], 2, 1, 3]),
        (
            "structures",
            [2, ["a", {"b": 1}], 2, {"f": "v", "n": 7}, 1, ["x"], 1, ["m", 1.5], "1-0", {"1-0": {"field": "value"}},
             ["0", ["l"]]],
        ),
        (
            "booleans",
            ["OK", True, 2, {"yes": True, "no": False}, 2, [True, False], ["OK", False, 0, True],
             ["OK", True, 3, [False]], "OK", None, "OK", 1e21, NULL_REFUSED, NO_TYPES],
        ),
        ("pipeline", ["OK", "v", []]),
        ("multi", [1, 2]),
        ("without base64", ["naïve 😀", "PONG"]),
        ("automatic pipelining", ["OK", "v", 1]),
        ("subscriptions", [["message", "chat", {"hello": 1}], ["pmessage", "ch*", "chat", {"hello": 1}]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_family_of_commands(results: dict[str, Any], family: str, expected: Any) -> None:
    assert results[family] == expected


def test_scripts(results: dict[str, Any]) -> None:
    assert results["scripts"][:3] == [1, 2, 3]
    assert "Dynamic keys are not allowed" in results["scripts"][3]


def test_errors_come_as_errors(results: dict[str, Any]) -> None:
    alone, in_a_transaction, unauthorized, kept = results["errors"]
    assert WRONGTYPE in alone
    assert WRONGTYPE in in_a_transaction
    assert "WRONGPASS invalid or missing auth token" in unauthorized
    assert kept == [{"result": "v"}, {"error": WRONGTYPE}]
