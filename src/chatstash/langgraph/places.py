"""Reads threads and checkpoints from LangGraph's configs, and makes configs of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig

from chatstash.threads.layout import Place, checked_text


def configurable(config: RunnableConfig | None) -> Mapping[str, Any]:
    """Return what a config says about its thread; raises ValueError if it says nothing."""
    found = config.get("configurable") if isinstance(config, Mapping) else None
    if not isinstance(found, Mapping) or found.get("thread_id") in (None, ""):
        raise ValueError(
            "The config has no thread_id. Nothing was sent. Pass config={'configurable': {'thread_id': '…'}}, with an "
            "id of its own for each conversation"
        )
    return found


def thread_id_of(config: RunnableConfig) -> str:
    """Return the thread of a config; a number is as good as its digits."""
    thread_id = configurable(config)["thread_id"]
    return str(thread_id) if isinstance(thread_id, int) and not isinstance(thread_id, bool) else thread_id


def namespace_of(config: RunnableConfig) -> str:
    """Return the namespace of a config: that of the root graph if it says none."""
    return checked_text("checkpoint_ns", configurable(config).get("checkpoint_ns") or "")


def checkpoint_id_of(config: RunnableConfig | None) -> str | None:
    """Return the checkpoint that a config names, or None for the newest."""
    checkpoint_id = ((config or {}).get("configurable") or {}).get("checkpoint_id")
    return checked_text("checkpoint_id", checkpoint_id) if checkpoint_id else None


def config_of(thread_id: str, place: Place) -> RunnableConfig:
    """Return the config of a checkpoint."""
    return {
        "configurable": {
            "thread_id": thread_id,
            "checkpoint_ns": place.namespace,
            "checkpoint_id": place.checkpoint_id,
        }
    }
