"""chatstash for LangGraph: `UpstashRedisSaver` keeps checkpoints, `UpstashRedisStore` what agents remember.

`import_history` and `export_history` move conversations into threads and back.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatstash.langgraph.migration.exporting import aexport_history, export_history
    from chatstash.langgraph.migration.importing import aimport_history, import_history
    from chatstash.langgraph.migration.results import ExportResult, ImportResult
    from chatstash.langgraph.saver import UpstashRedisSaver
    from chatstash.langgraph.store import UpstashRedisStore
    from chatstash.threads.operations.listing import ThreadInfo, ThreadPage

_MODULES = {
    "ExportResult": "chatstash.langgraph.migration.results",
    "ImportResult": "chatstash.langgraph.migration.results",
    "ThreadInfo": "chatstash.threads.operations.listing",
    "ThreadPage": "chatstash.threads.operations.listing",
    "UpstashRedisSaver": "chatstash.langgraph.saver",
    "UpstashRedisStore": "chatstash.langgraph.store",
    "aexport_history": "chatstash.langgraph.migration.exporting",
    "aimport_history": "chatstash.langgraph.migration.importing",
    "export_history": "chatstash.langgraph.migration.exporting",
    "import_history": "chatstash.langgraph.migration.importing",
}

__all__ = [
    "ExportResult",
    "ImportResult",
    "ThreadInfo",
    "ThreadPage",
    "UpstashRedisSaver",
    "UpstashRedisStore",
    "aexport_history",
    "aimport_history",
    "export_history",
    "import_history",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        try:
            module = import_module(_MODULES[name])
        except ImportError as error:
            if not (error.name or "").startswith("langgraph"):
                raise
            needed = "langgraph-checkpoint 4.3 or newer: pip install 'chatstash[langgraph]'"
            raise type(error)(f"chatstash.langgraph.{name} needs {needed} ({error}).", name=error.name) from error
        return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module 'chatstash.langgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
