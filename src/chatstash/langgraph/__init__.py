"""chatstash for LangGraph: `UpstashRedisSaver` keeps the checkpoints of agents and graphs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatstash.langgraph.saver import UpstashRedisSaver
    from chatstash.threads.operations.listing import ThreadInfo, ThreadPage

_MODULES = {
    "ThreadInfo": "chatstash.threads.operations.listing",
    "ThreadPage": "chatstash.threads.operations.listing",
    "UpstashRedisSaver": "chatstash.langgraph.saver",
}

__all__ = ["ThreadInfo", "ThreadPage", "UpstashRedisSaver"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return globals().setdefault(name, getattr(import_module(_MODULES[name]), name))
    raise AttributeError(f"module 'chatstash.langgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
