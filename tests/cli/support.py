"""The command line, run as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHATSTASH = [sys.executable, "-m", "chatstash"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("UPSTASH")}


def chatstash(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHATSTASH, *arguments], capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False, **options
    )


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with subprocess.Popen(
        [*CHATSTASH, "serve", "--port", "0", "--json", *arguments], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()
