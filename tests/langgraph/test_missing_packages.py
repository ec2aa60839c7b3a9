"""Without LangGraph's packages, the names say what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "langgraph":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import chatstash.langgraph
from chatstash.langgraph import ThreadPage
try:
    from chatstash.langgraph import NAME
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["UpstashRedisSaver", "UpstashRedisStore"])
def test_a_name_says_what_to_install(name: str) -> None:
    code = _WITHOUT.replace("NAME", name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{name} needs langgraph-checkpoint" in done.stdout
    assert "pip install 'chatstash[langgraph]'" in done.stdout
