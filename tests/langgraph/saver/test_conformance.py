"""LangGraph's own suite for checkpointers: every capability passes, the optional ones included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("langgraph.checkpoint.conformance", reason="make test installs it")

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash


def test_every_capability_is_detected_and_passes(upstash: LocalUpstash) -> None:
    @checkpointer_test(name="UpstashRedisSaver")
    async def made() -> AsyncIterator[UpstashRedisSaver]:
        async with UpstashRedisSaver(upstash.url, upstash.token) as saver:
            yield saver

    report = asyncio.run(validate(made))
    assert {name: result.failures for name, result in report.results.items() if not result.passed} == {}
    assert {result.detected for result in report.results.values()} == {True}
    assert len(report.results) == len(Capability)


def test_every_method_of_the_base_is_overridden_in_both_colours() -> None:
    methods = [name for name in vars(BaseCheckpointSaver) if not name.startswith("_")]
    inherited = {"get", "aget", "config_specs", "with_allowlist", "serde"}
    assert {name for name in methods if name not in vars(UpstashRedisSaver)} == inherited
