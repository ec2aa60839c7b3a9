"""An application that uses a random graph at random, and compares its checkpointer with a reference."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from chatstash.langgraph import UpstashRedisSaver
from tests.langgraph.saver.random_graphs import graph_of, new_input, resuming
from tests.langgraph.saver.tee import LockedReference, Tee, comparable


class Application:
    """An application that uses a graph at random."""

    def __init__(self, seed: int, new_saver: Callable[[], UpstashRedisSaver]) -> None:
        self.at = random.Random(seed)
        self._new_saver = new_saver
        self._graph = graph_of(seed)
        self._reference = LockedReference(serde=new_saver().serde)
        self._is_async = False
        self._number = 0
        self.config = {"configurable": {"thread_id": f"thread {seed}"}}
        self.restart()

    def restart(self) -> None:
        """Go on in what a new process would have: nothing in memory."""
        self.tee = Tee(self._new_saver(), self._reference)
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
        self._is_async = self.at.random() < 0.5
        history = self._history()
        fork = self.at.choice(history).config if history and self.at.random() < 0.25 else self.config
        state = self._call("get_state", fork, subgraphs=True)
        if history and self.at.random() < 0.2:
            update = {"log": ["updated"], "files": {"/u.txt": "u" * 200}}
            self._call("update_state", fork, update, as_node="join")
        elif state.next and self.at.random() < 0.8:
            self._run(resuming(self.at, state.interrupts), fork)
        else:
            self._number += 1
            self._run(new_input(self.at, self._number), fork)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        if self._is_async:
            return asyncio.run(getattr(self.app, f"a{name}")(*arguments, **options))
        return getattr(self.app, name)(*arguments, **options)

    def _history(self) -> list[Any]:
        async def collected() -> list[Any]:
            return [state async for state in self.app.aget_state_history(self.config)]

        return asyncio.run(collected()) if self._is_async else list(self.app.get_state_history(self.config))

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
        self._history()
        thread = {"configurable": {"thread_id": self.config["configurable"]["thread_id"]}}
        ours, theirs = (_in_order(saver.list(thread)) for saver in (self.tee.saver, self._reference))
        assert ours == theirs
        assert self.tee.compared > 0


def _in_order(found: Any) -> list[Any]:
    """Return checkpoints by namespace and id: the two savers list namespaces in different orders."""
    whole = [comparable(one) for one in found]
    return sorted(whole, key=lambda one: (one["config"]["checkpoint_ns"], one["config"]["checkpoint_id"]))


def run_at_random(seed: int, new_saver: Callable[[], UpstashRedisSaver], turns: int = 7) -> None:
    """Use a random graph for some turns, and compare all that is stored."""
    application = Application(seed, new_saver)
    for _ in range(turns):
        application.turn()
    application.check_everything()
