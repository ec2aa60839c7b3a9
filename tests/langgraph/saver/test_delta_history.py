"""The history of delta channels is what LangGraph's own saver in memory returns, read in one request."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("langgraph.checkpoint.memory", reason="langgraph is not installed; make test installs it")

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from tests.conftest import Call


def chain(savers: Sequence[Any], ids: Sequence[str], namespace: str = "", snapshots: Sequence[str] = ()) -> Any:
    """Store checkpoints, each the child of the one before, with writes to two channels. Return the last config."""
    for saver in savers:
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": namespace}}
        for checkpoint_id in ids:
            values = {"x": _DeltaSnapshot([checkpoint_id])} if checkpoint_id in snapshots else {}
            checkpoint = {**empty_checkpoint(), "id": checkpoint_id, "channel_values": values}
            checkpoint["channel_versions"] = {"x": checkpoint_id, "y": "1"}
            config = saver.put(config, checkpoint, {"step": 1}, {"x": checkpoint_id} if values else {})
            saver.put_writes(config, [("x", f"x{checkpoint_id}"), ("z", 0)], "task 1")
            saver.put_writes(config, [("y", f"y{checkpoint_id}")], "task 2", "path")
    return config


def history(call: Call, saver: Any, config: Any) -> Any:
    return call(saver, "get_delta_channel_history", config=config, channels=["x", "y"])


@pytest.mark.parametrize("snapshots", [(), ("000010",), ("000010", "000119"), ("000000",)])
def test_a_long_chain_takes_one_request(upstash: LocalUpstash, call: Call, snapshots: Sequence[str]) -> None:
    saver, reference = UpstashRedisSaver(upstash.url, upstash.token), InMemorySaver()
    config = chain((saver, reference), [f"{number:06}" for number in range(120)], snapshots=snapshots)
    before = upstash.stats
    assert history(call, saver, config) == reference.get_delta_channel_history(config=config, channels=["x", "y"])
    used = upstash.stats - before
    assert used.requests == 1
    assert used.bytes_received < 4000


def test_a_history_that_does_not_fit_a_reply(upstash: LocalUpstash, call: Call) -> None:
    saver, reference = UpstashRedisSaver(upstash.url, upstash.token), InMemorySaver()
    config = chain((saver, reference), [f"{number:06}" for number in range(30)], snapshots=["000003"])
    saver._threads = dataclasses.replace(saver._threads, max_request_bytes=4000)
    before = upstash.stats
    assert history(call, saver, config) == reference.get_delta_channel_history(config=config, channels=["x", "y"])
    assert (upstash.stats - before).requests > 3
    assert max(request.bytes_sent for request in upstash.log) < 6000


@pytest.mark.parametrize("namespace", ["", "a!b%|c:\n"])
def test_ids_of_any_kind_and_a_clock_that_was_behind(upstash: LocalUpstash, call: Call, namespace: str) -> None:
    saver, reference = UpstashRedisSaver(upstash.url, upstash.token), InMemorySaver()
    config = chain((saver, reference), ["a5!", "a1%", "a3", 'a7"', "a2", "a9"], namespace)
    chain((saver, reference), ["a0", "a4"], f"{namespace}!")
    assert history(call, saver, config) == reference.get_delta_channel_history(config=config, channels=["x", "y"])
    named = {"configurable": {**config["configurable"], "checkpoint_id": "a3"}}
    assert len(history(call, saver, named)["x"]["writes"]) == 2


def test_without_ancestors(upstash: LocalUpstash, call: Call) -> None:
    saver = UpstashRedisSaver(upstash.url, upstash.token)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    nothing = {"x": {"writes": []}, "y": {"writes": []}}
    assert history(call, saver, config) == nothing
    only = chain((saver,), ["1"])
    for wanted in (config, only, {"configurable": {**only["configurable"], "checkpoint_id": "0"}}):
        assert history(call, saver, wanted) == nothing
