"""chatstash for LangGraph: `UpstashRedisSaver` keeps checkpoints, `UpstashRedisStore` what agents remember."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatstash.langgraph.saver import UpstashRedisSaver
    from chatstash.langgraph.store import UpstashRedisStore
    from chatstash.threads.operations.listing import ThreadInfo, ThreadPage

_MODULES = {
    "ThreadInfo": "chatstash.threads.operations.listing",
    "ThreadPage": "chatstash.threads.operations.listing",
    "UpstashRedisSaver": "chatstash.langgraph.saver",
    "UpstashRedisStore": "chatstash.langgraph.store",
}

__all__ = ["ThreadInfo", "ThreadPage", "UpstashRedisSaver", "UpstashRedisStore"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return globals().setdefault(name, getattr(import_module(_MODULES[name]), name))
    raise AttributeError(f"module 'chatstash.langgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
