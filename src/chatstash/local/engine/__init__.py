"""The embedded Valkey, its replica, and connections to any Redis-compatible engine."""

from chatstash.local.engine.data_directory import EngineError
from chatstash.local.engine.process import Engine

__all__ = ["Engine", "EngineError"]
