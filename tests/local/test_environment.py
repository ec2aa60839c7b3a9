"""No program under `chatstash dev`, and no test with the fixture, finds its way to the real database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatstash.local.environment import environment_with, reaching_others
from tests.cli.support import CHATSTASH, ENVIRONMENT
from tests.local.test_pytest_plugin import run_pytest

REAL = {
    "UPSTASH_REDIS_REST_URL": "https://eu1-real-1.upstash.io",
    "UPSTASH_REDIS_REST_TOKEN": "AX-real-token",
    "UPSTASH_REDIS_REST_READONLY_TOKEN": "AX-real-reader",
    "UPSTASH_REDIS_REST_READ_ONLY_TOKEN": "AX-real-reader",
    "UPSTASH_REDIS_URL": "rediss://default:real-password@eu1-real-1.upstash.io:6379",
    "UPSTASH_API_KEY": "real-management-key",
    "KV_REST_API_URL": "https://eu1-real-1.upstash.io",
    "KV_REST_API_TOKEN": "AX-real-token",
    "KV_REST_API_READ_ONLY_TOKEN": "AX-real-reader",
    "KV_URL": "rediss://default:real-password@eu1-real-1.upstash.io:6379",
    "REDIS_URL": "rediss://default:real-password@eu1-real-1.upstash.io:6379",
    "STORAGE_KV_REST_API_TOKEN": "AX-real-token",
    "REDIS_HOST": "eu1-real-1.upstash.io",
    "REDIS_PASSWORD": "real-password",
    "CELERY_BROKER": "redis://real.example:6379/0",
    "MY_CHAT_DB": "https://eu1-real-1.upstash.io",
    "MY_CHAT_AUTH": "Bearer AX-real-token",
    "redis_url": "redis://real.example",
}
OTHERS = {
    "QSTASH_URL": "https://qstash.upstash.io",
    "UPSTASH_VECTOR_REST_URL": "https://real-vector.upstash.io",
    "UPSTASH_DISABLE_TELEMETRY": "1",
    "KV": "x",
    "OPENAI_API_KEY": "sk-1",
    "DATABASE_URL": "postgres://u:password@real.example/db",
    "REDISTRIBUTE": "1",
}


def test_which_variables_lead_to_another_database() -> None:
    assert reaching_others({**REAL, **OTHERS}) == sorted(REAL)
    # A short word, or a URL that is none, says nothing of others.
    assert reaching_others({"KV_REST_API_TOKEN": "x", "KV_URL": "//[", "A": "xyz"}) == ["KV_REST_API_TOKEN", "KV_URL"]


def test_the_environment_of_a_program() -> None:
    variables = {
        "UPSTASH_REDIS_REST_URL": "http://local",
        "UPSTASH_REDIS_REST_TOKEN": "t",
        "CHATSTASH_CONTROL_URL": "c",
    }
    proxy = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    vercel = {"KV_REST_API_URL": "http://local", "KV_REST_API_TOKEN": "t"}
    assert environment_with({**REAL, **OTHERS}, variables) == {**OTHERS, **variables, **proxy, **vercel}


@pytest.mark.parametrize("read", ["dev", "fixture"])
def test_nothing_real_is_found(tmp_path: Path, read: str) -> None:
    show = "import json, os; print('FOUND', json.dumps(dict(os.environ)))"
    if read == "dev":
        printed = subprocess.run(
            [*CHATSTASH, "dev", "--", sys.executable, "-c", show], capture_output=True, text=True, check=True,
            env={**ENVIRONMENT, **REAL},
        ).stdout  # fmt: skip
    else:
        (tmp_path / "test_it.py").write_text(f"def test_it(upstash_environment):\n    {show}\n")
        printed = run_pytest(tmp_path, "-s", **REAL)
    found = json.loads(printed.split("FOUND ")[1].splitlines()[0])
    assert [name for name, value in found.items() if "real" in value and name in REAL] == []
    assert found["UPSTASH_REDIS_REST_URL"] == found["KV_REST_API_URL"]
    assert found["UPSTASH_REDIS_REST_TOKEN"] == found["KV_REST_API_TOKEN"]
    assert found["KV_REST_API_URL"].startswith("http://127.0.0.1:")
