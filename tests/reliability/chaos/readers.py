"""Readers: every way of reading, with and without a cache, blocking and in an event loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

from chatstash import ChatstashError, DatabaseError, Store, UpstashRedisChatMessageHistory
from chatstash.errors import ConversationChanged
from tests.conftest import call_sync
from tests.reliability.chaos.ledger import Ledger, Sight
from tests.reliability.chaos.plan import BOUND, BOUNDED, LARGE, SESSIONS, Name, names_of
from tests.reliability.chaos.report import Report

WAYS = ("whole", "window", "window", "page", "tokens", "count")

Call = Callable[..., Any]


class Reader:
    """Reads sessions in random ways and notes what it saw.

    Args:
        stores: Stores to read through, one of them at each read.
        ledger: Where what is seen is noted.
        report: Where what is wrong by itself is noted.
        chances: Choose sessions and ways.
        call: Calls a method, of either colour.
    """

    def __init__(
        self, stores: list[Store], ledger: Ledger, report: Report, chances: random.Random, call: Call = call_sync
    ) -> None:
        self.stores = stores
        self.ledger = ledger
        self.report = report
        self.chances = chances
        self.call = call

    def read_until(self, done: threading.Event) -> None:
        """Read again and again."""
        while not done.wait(0.02):
            session = self.chances.choice(SESSIONS)
            if session != LARGE or self.chances.random() < 0.2:
                self.read(session, self.chances.choice(WAYS))

    def read(self, session: str, way: str) -> None:
        """Read once."""
        store = self.chances.choice(self.stores)
        most = BOUND if session == BOUNDED else None
        history = UpstashRedisChatMessageHistory(session, store=store, on_corrupt="skip", max_stored_messages=most)
        known, edits = len(self.ledger.acknowledged[session]), dict(self.ledger.edits[session])
        label = way if store is self.stores[0] else f"{way}, cached"
        try:
            self._read(history, way, label, known, edits)
        except ConversationChanged:
            self.report.reads["begun again"] += 1
        except DatabaseError:
            self.report.reads["failed"] += 1
        except ChatstashError as error:
            self.report.wrong.append(f"reading {session} ({label}) raised {error!r}")
        else:
            self.report.reads[label] += 1

    def _read(
        self, history: UpstashRedisChatMessageHistory, way: str, label: str, known: int, edits: dict[Name, int]
    ) -> None:
        session, wanted = history.session_id, self.chances.choice([1, 1, 2, 3, 5, 10, 30])
        if way == "count":
            total = self.call(history, "count")
            self.ledger.sights.append(Sight(label, session, None, [], known, total))
            return
        if way == "whole":
            messages, wanted = self.call(history, "messages"), None
        elif way == "tokens":
            messages = self.call(history, "read", max_tokens=wanted, token_counter=len).messages
        else:
            result = self.call(history, "read", last=wanted)
            messages = result.messages
            if way == "page" and result.cursor is not None:
                limit = self.chances.choice([1, 2, 5, 20])
                page = self.call(history, "read", before=result.cursor, limit=limit).messages
                # Without a message of its own the window does not join the page to anything.
                messages, wanted = [*page, *messages], wanted + limit
        self._see(label, session, wanted, names_of(messages), known, edits)

    def _see(
        self, label: str, session: str, wanted: int | None, found: list[tuple[Name, int]], known: int, edits: Any
    ) -> None:
        old = [name for name, version in found if version < edits.get(name, 0)]
        if old:
            self.report.shown.append(f"{label} of {session} showed a text from before an edit: {old[:3]}")
        self.ledger.see(label, session, wanted, [name for name, _ in found], known)


def read_in_a_loop(reader: Reader, done: threading.Event) -> None:
    """Let a reader read in an event loop of its own."""
    with asyncio.Runner() as runner:

        def call(target: Any, name: str, *args: Any, **options: Any) -> Any:
            async_name = "aget_messages" if name == "messages" else f"a{name}"
            return runner.run(getattr(target, async_name)(*args, **options))

        reader.call = call
        try:
            reader.read_until(done)
        finally:
            for store in reader.stores:
                runner.run(store.aclose())
