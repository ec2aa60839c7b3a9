"""Random graphs and random use: each checkpoint that is read equals that of a locked InMemorySaver."""

from __future__ import annotations

import pytest

pytest.importorskip("langgraph.graph", reason="langgraph is not installed; make test installs it")

from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from tests.langgraph.saver.application import run_at_random
from tests.langgraph.saver.test_saver import Cipher


@pytest.mark.parametrize("seed", range(8))
def test_random_use_of_random_graphs(seed: int, upstash: LocalUpstash) -> None:
    run_at_random(seed, lambda: UpstashRedisSaver(upstash.url, upstash.token))


def test_random_use_with_encryption(upstash: LocalUpstash) -> None:
    serde = EncryptedSerializer(Cipher(b"k" * 32), JsonPlusSerializer())
    run_at_random(7, lambda: UpstashRedisSaver(upstash.url, upstash.token, serde=serde))


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_use_of_many_random_graphs(first: int, upstash: LocalUpstash) -> None:
    for seed in range(first, first + 20):
        run_at_random(seed, lambda: UpstashRedisSaver(upstash.url, upstash.token))
