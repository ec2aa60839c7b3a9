"""Random graphs and random use: each checkpoint that is read equals that of a locked InMemorySaver."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

pytest.importorskip("langgraph.graph", reason="langgraph is not installed; make test installs it")

from langgraph.checkpoint.base import BaseCheckpointSaver

from chatstash.langgraph import UpstashRedisSaver
from chatstash.local import LocalUpstash
from tests.langgraph.saver.random_graphs import graph_of, new_input, resuming
from tests.langgraph.saver.tee import LockedReference, Tee

TURNS = 7


class Application:
    """An application that uses a graph at random."""

    def __init__(self, seed: int, upstash: LocalUpstash) -> None:
        self.at = random.Random(seed)
        self._upstash = upstash
        self._graph = graph_of(seed)
        self._reference = LockedReference(serde=UpstashRedisSaver(upstash.url, upstash.token).serde)
        self._is_async = seed % 2 == 1
        self._number = 0
        self.config = {"configurable": {"thread_id": f"thread {seed}"}}
        self.restart()

    def restart(self) -> None:
        """Go on in what a new process would have: nothing in memory."""
        self.tee = Tee(UpstashRedisSaver(self._upstash.url, self._upstash.token), self._reference)
        self.app = self._graph.compile(checkpointer=self.tee)

    def turn(self) -> None:
        """Do something. Two branches may remove the same message, which fails: then the error is stored, too."""
        try:
            self._turn()
        except ValueError as error:
            if "Attempting to delete" not in str(error):
                raise

    def _turn(self) -> None:
        if self.at.random() < 0.3:
            self.restart()
        history = list(self.app.get_state_history(self.config))
        fork = self.at.choice(history).config if history and self.at.random() < 0.25 else self.config
        state = self.app.get_state(fork, subgraphs=True)
        if history and self.at.random() < 0.2:
            self.app.update_state(fork, {"log": ["updated"], "files": {"/u.txt": "u" * 200}}, as_node="join")
        elif state.next and self.at.random() < 0.8:
            self._run(resuming(self.at, state.interrupts), fork)
        else:
            self._number += 1
            self._run(new_input(self.at, self._number), fork)

    def _run(self, wanted: Any, config: Any) -> None:
        durability = self.at.choice(["sync", "async", "exit"])
        if self._is_async:
            asyncio.run(self._arun(wanted, config, durability))
        elif self.at.random() < 0.5:
            self.app.invoke(wanted, config, durability=durability)
        else:
            list(self.app.stream(wanted, config, durability=durability, subgraphs=True))

    async def _arun(self, wanted: Any, config: Any, durability: Any) -> None:
        if self.at.random() < 0.5:
            await self.app.ainvoke(wanted, config, durability=durability)
        else:
            async for _ in self.app.astream(wanted, config, durability=durability):
                pass

    def check_everything(self) -> None:
        """Compare all checkpoints of all namespaces."""
        list(self.app.get_state_history(self.config))
        ours: BaseCheckpointSaver[Any] = self.tee.saver
        thread = {"configurable": {"thread_id": self.config["configurable"]["thread_id"]}}
        found = {one.config["configurable"]["checkpoint_id"] for one in ours.list(thread)}
        assert found == {one.config["configurable"]["checkpoint_id"] for one in self._reference.list(thread)}
        assert self.tee.compared > 0


def _run(seed: int, upstash: LocalUpstash) -> None:
    application = Application(seed, upstash)
    for _ in range(TURNS):
        application.turn()
    application.check_everything()


@pytest.mark.parametrize("seed", range(20))
def test_random_use_of_random_graphs(seed: int, upstash: LocalUpstash) -> None:
    _run(seed, upstash)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20, 200))
def test_random_use_of_many_random_graphs(seed: int, upstash: LocalUpstash) -> None:
    _run(seed, upstash)
