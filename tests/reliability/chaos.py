"""Chaos: many writers and readers, random faults of every kind, and then a count of what is stored.

    python -m tests.reliability.chaos [--seed N] [--appends N] [--peer]

The seed decides what is written and which chances the faults draw; how threads interleave is the machine's affair, so
a run is alike, not the same, the second time. `--peer` gives the same work to langchain-community's class.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from chatstash import (
    Applied,
    DatabaseError,
    Outcome,
    OutcomeUnknown,
    Store,
    UpstashRedisChatMessageHistory,
)
from chatstash.local import Fault, LocalUpstash

WRITERS = 8
SESSIONS = 6
SHARED = "shared"
LARGE = "large"
LATEST = 0.3
"""Seconds by which the faults below make a request late at most."""

FAULTS = (
    Fault("delay", probability=0.03, jitter=0.02),
    Fault("reply_lost", probability=0.015),
    Fault("request_lost", probability=0.015),
    Fault("applied_late", probability=0.02, jitter=LATEST),
    Fault("reset", probability=0.008),
    Fault("reset", probability=0.008, applied=True),
    Fault("truncated", probability=0.015),
    Fault("unavailable", probability=0.008),
    Fault("unavailable", probability=0.008, applied=True),
    Fault("server_error", probability=0.008),
    Fault("server_error", probability=0.008, applied=True),
    Fault("throttled", probability=0.01),
    Fault("no_answer", probability=0.002),
    Fault("no_answer", probability=0.002, applied=True),
)
_IDENTITY = re.compile(rb"<(\d+)/(\d+)/\d+>")


@dataclass(frozen=True)
class Append:
    """One append that a writer is to make; `identity` is in the text of each of its messages."""

    writer: int
    number: int
    session: str
    texts: tuple[str, ...]
    ttl: int | None
    key: str | None
    impatient: bool

    @property
    def identity(self) -> tuple[int, int]:
        return self.writer, self.number

    @property
    def messages(self) -> list[BaseMessage]:
        return [HumanMessage(text) for text in self.texts]


def planned(seed: int, appends: int, *, large: bool = True) -> list[list[Append]]:
    """Return what each writer appends, in order."""
    per_writer = -(-appends // WRITERS)
    return [
        [_planned(random.Random(f"{seed}/{writer}/{number}"), writer, number, large) for number in range(per_writer)]
        for writer in range(WRITERS)
    ]


def _planned(chances: random.Random, writer: int, number: int, large: bool) -> Append:
    is_large = large and number % 200 == 20
    own = f"session-{(writer + chances.randrange(3)) % SESSIONS}"
    session = LARGE if is_large else chances.choice([SHARED, own, own])
    filler = "x" * 45_000 if is_large else ""
    size = chances.randint(1, 5)
    texts = tuple(f"<{writer}/{number}/{position}>{filler}" for position in range(size))
    key = f"key-{writer}-{number}" if chances.random() < 0.25 else None
    return Append(writer, number, session, texts, chances.choice([None, 3600]), key, chances.random() < 0.05)


@dataclass
class Watch:
    """Which faults hit which append, as the server sees it: it looks over the shoulder of whoever picks them."""

    requests: dict[tuple[int, int], list[tuple[str, list[str]]]] = field(default_factory=lambda: defaultdict(list))
    others: Counter[str] = field(default_factory=Counter)
    copies_met: int = 0

    def over(self, upstash: LocalUpstash) -> Callable[[], None]:
        """Begin to watch; returns what ends it."""
        faults = upstash.faults
        pick = faults.pick

        def watched(commands: Sequence[Any]) -> list[Fault]:
            picked = pick(commands)
            found = _IDENTITY.search(b" ".join(_bytes(word)[:200] for command in commands for word in command[1:]))
            kinds = [_name(fault) for fault in picked]
            self.copies_met += _bytes(commands[0][0]) == b"EVAL" and b"LREM" in _bytes(commands[0][1])
            if found:
                self.requests[int(found[1]), int(found[2])].append((_bytes(commands[0][0]).decode(), kinds))
            else:
                self.others.update(kinds)
            return picked

        faults.pick = watched  # type: ignore[method-assign]
        return lambda: faults.__dict__.pop("pick", None)


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _name(fault: Fault) -> str:
    return f"{fault.kind}, applied" if fault.applied else fault.kind


@dataclass
class Report:
    """What became of everything."""

    seed: int
    name: str
    appends: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    table: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    reads: int = 0
    reads_failed: int = 0
    repeats: int = 0
    copies_met: int = 0
    copies_left: int = 0
    seconds: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        contents = (
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, out of order {len(self.disordered)}, "
            f"torn apart {len(self.torn)}, other {len(self.wrong)}; "
            f"reads that met a late copy {self.copies_met}, copies left in storage {self.copies_left}"
        )
        work = (
            f"{self.name}: seed {self.seed}, {self.appends} appends by {WRITERS} writers, {self.repeats} of them "
            f"repeated by another writer, {self.reads} reads meanwhile ({self.reads_failed} failed), "
            f"{self.seconds:.1f} s{self.note}"
        )
        lines = [
            work,
            contents,
            "outcomes of appends: " + ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items())),
            *_table(self.table),
        ]
        for name in ("lost", "doubled", "disordered", "torn", "wrong"):
            lines += [f"  {name}: {example}" for example in getattr(self, name)[:5]]
        return "\n".join(lines)

    @property
    def flaws(self) -> list[str]:
        """Everything that should not be."""
        return self.lost + self.doubled + self.disordered + self.torn + self.wrong


def _table(table: dict[str, Counter[str]]) -> Iterator[str]:
    columns = sorted({outcome for row in table.values() for outcome in row})
    yield "  ".join(["fault that hit".ljust(22), *(column.rjust(max(8, len(column))) for column in columns)])
    for name in sorted(table):
        cells = (str(table[name][column]).rjust(max(8, len(column))) for column in columns)
        yield "  ".join([name.ljust(22), *cells])


class Run:
    """One run on one server. Writers 0 to 3 are threads, 4 to 7 tasks of one event loop."""

    def __init__(self, upstash: LocalUpstash, seed: int, appends: int) -> None:
        self.upstash = upstash
        self.plans = planned(seed, appends)
        self.report = Report(seed, "chatstash")
        self.acknowledged: dict[str, set[str]] = defaultdict(set)
        self.unknown: dict[tuple[int, int], OutcomeUnknown] = {}
        self.refused: set[tuple[int, int]] = set()
        self.announced: list[Append] = []
        self.watch = Watch()
        self.done = threading.Event()
        self.store = Store(upstash.url, upstash.token, timeout=6, retries=6, max_request_bytes=100_000)

    def history(self, append: Append) -> UpstashRedisChatMessageHistory:
        retries = 0 if append.impatient else None
        return UpstashRedisChatMessageHistory(append.session, ttl=append.ttl, retries=retries, store=self.store)

    def run(self) -> Report:
        began = time.monotonic()
        for fault in FAULTS:
            self.upstash.faults.add(fault)
        end_watch = self.watch.over(self.upstash)
        try:
            with ThreadPoolExecutor(WRITERS) as threads:
                reading = threads.submit(self._read_until_done)
                writing = [threads.submit(self._write, plan) for plan in self.plans[:4]]
                looping = threads.submit(asyncio.run, self._write_all(self.plans[4:]))
                try:
                    for future in [*writing, looping]:
                        future.result()
                finally:
                    self.done.set()
                reading.result()
        finally:
            end_watch()
            self.upstash.faults.clear()
        time.sleep(LATEST + 0.3)
        self._judge()
        self.store.close()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _write(self, plan: Sequence[Append]) -> None:
        for append in self._steps(plan):
            with self._recorded(append):
                self.history(append).add_messages(append.messages, idempotency_key=append.key)

    async def _write_all(self, plans: Sequence[Sequence[Append]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for plan in plans:
                tasks.create_task(self._awrite(plan))
            reader = tasks.create_task(self._aread_until_done(len(plans)))
        assert reader.done()

    async def _awrite(self, plan: Sequence[Append]) -> None:
        try:
            for append in self._steps(plan):
                with self._recorded(append):
                    await self.history(append).aadd_messages(append.messages, idempotency_key=append.key)
        finally:
            self.loop_writers_done = getattr(self, "loop_writers_done", 0) + 1

    def _steps(self, plan: Sequence[Append]) -> Iterator[Append]:
        """Yield a writer's appends, and now and then one of another writer, which may just be making it."""
        for append in plan:
            if append.key and append.number % 2:
                self.announced.append(append)
            yield append
            if append.number % 5 == 0:
                with contextlib.suppress(IndexError):
                    other = self.announced[-1 - append.number % 7]
                    if other.writer != append.writer:
                        self.report.repeats += 1
                        yield other

    @contextlib.contextmanager
    def _recorded(self, append: Append) -> Iterator[None]:
        try:
            yield
        except OutcomeUnknown as error:
            self.unknown[append.identity] = error
        except DatabaseError as error:
            if error.applied is not Applied.NO:
                self.report.wrong.append(f"{append.identity}: {error!r}")
            self.refused.add(append.identity)
        else:
            self.acknowledged[append.session].update(append.texts)

    def _session_to_read(self, turn: int) -> str:
        return LARGE if turn % 40 == 39 else SHARED if turn % 10 == 9 else f"session-{turn % SESSIONS}"

    def _read_until_done(self) -> None:
        seen: dict[str, list[str]] = defaultdict(list)
        turn = 0
        while not self.done.wait(0.03):
            turn += 1
            session = self._session_to_read(turn)
            before = set(self.acknowledged[session])
            self._compare(session, before, seen, lambda session=session: self._reader(session).messages)

    async def _aread_until_done(self, writers: int) -> None:
        seen: dict[str, list[str]] = defaultdict(list)
        turn = 0
        while getattr(self, "loop_writers_done", 0) < writers:
            await asyncio.sleep(0.03)
            turn += 1
            session = self._session_to_read(turn)
            before = set(self.acknowledged[session])
            try:
                messages = await self._reader(session).aget_messages()
            except DatabaseError:
                self.report.reads_failed += 1
            else:
                self._compare(session, before, seen, lambda messages=messages: messages)

    def _reader(self, session: str) -> UpstashRedisChatMessageHistory:
        return UpstashRedisChatMessageHistory(session, store=self.store)

    def _compare(
        self, session: str, before: set[str], seen: dict[str, list[str]], read: Callable[[], list[BaseMessage]]
    ) -> None:
        """Check one read: nothing twice, all that was acknowledged before it, and what was read last time, first."""
        try:
            texts = [str(message.content) for message in read()]
        except DatabaseError:
            self.report.reads_failed += 1
            return
        self.report.reads += 1
        if len(set(texts)) < len(texts):
            self.report.wrong.append(f"a read of {session} had a message twice")
        if missing := before - set(texts):
            self.report.wrong.append(f"a read of {session} was without {sorted(missing)[:3]}")
        if texts[: len(seen[session])] != seen[session]:
            self.report.wrong.append(f"a read of {session} did not go on from the one before")
        seen[session] = texts

    def _judge(self) -> None:
        stored = {
            name: [str(message.content) for message in self._reader(name).messages]
            for name in [SHARED, LARGE, *(f"session-{number}" for number in range(SESSIONS))]
        }
        self._settle_unknown()
        self._judge_contents(stored)
        self._judge_order(stored)
        self._tabulate()
        self.report.copies_met = self.watch.copies_met
        for name, texts in stored.items():
            self.report.copies_left += len(self._reader(name).read().records) - len(texts)
            self.report.copies_left += _length(self.upstash, f"message_store:{name}") - len(texts)

    def _settle_unknown(self) -> None:
        """Decide what ended in OutcomeUnknown, now that nothing is on its way any more."""
        for append in self._all():
            error = self.unknown.get(append.identity)
            if error is None:
                continue
            outcome = self.history(append).settle(error, on_its_way=0)
            if outcome is Outcome.STORED:
                self.acknowledged[append.session].update(append.texts)
            self.report.outcomes[f"unknown, then settled as {outcome.value}"] += 1

    def _judge_contents(self, stored: dict[str, list[str]]) -> None:
        for append in self._all():
            self.report.appends += 1
            there = stored[append.session]
            counts = {self._count(stored, append, text) for text in append.texts}
            is_expected = append.texts[0] in self.acknowledged[append.session]
            if is_expected and 0 in counts:
                self.report.lost.append(f"{append.identity} in {append.session}")
            if not is_expected and counts != {0}:
                self.report.wrong.append(f"{append.identity} is stored, though said not to be")
            if max(counts) > 1:
                self.report.doubled.append(f"{append.identity} in {append.session}")
            if counts == {1}:
                first = there.index(append.texts[0])
                if tuple(there[first : first + len(append.texts)]) != append.texts:
                    self.report.torn.append(f"{append.identity} in {append.session}")

    def _count(self, stored: dict[str, list[str]], append: Append, text: str) -> int:
        if not hasattr(self, "_counted"):
            self._counted = {name: Counter(texts) for name, texts in stored.items()}
        return self._counted[append.session][text]

    def _judge_order(self, stored: dict[str, list[str]]) -> None:
        for name, texts in stored.items():
            newest: dict[int, int] = {}
            for text in texts:
                writer, number, _ = map(int, text[1 : text.index(">")].split("/"))
                if (writer, number) in self.unknown or (writer, number) in self.refused:
                    continue
                if number < newest.get(writer, -1):
                    self.report.disordered.append(f"{writer}/{number} in {name}")
                newest[writer] = number

    def _tabulate(self) -> None:
        for append in self._all():
            requests = self.watch.requests[append.identity]
            outcome = self._outcome(append, requests)
            self.report.outcomes[outcome] += 1
            for _, kinds in requests:
                for kind in kinds:
                    self.report.table[kind][outcome] += 1
        for kind, count in self.watch.others.items():
            self.report.table[kind]["of a read or a part"] += count

    def _outcome(self, append: Append, requests: list[tuple[str, list[str]]]) -> str:
        if append.identity in self.unknown:
            return "unknown"
        if append.identity in self.refused:
            return "refused"
        if all(kind == "delay" for _, kinds in requests for kind in kinds):
            return "at once"
        settled = append.key is None and any(name == "EVAL" for name, _ in requests)
        return "settled" if settled else "sent again"

    def _all(self) -> Iterator[Append]:
        for plan in self.plans:
            yield from plan


def _length(upstash: LocalUpstash, key: str) -> int:
    from tests.conftest import command

    # By a script, which no replica answers that lags.
    return int(command(upstash, "EVAL", "return redis.call('LLEN', KEYS[1])", 1, key))


def run_chaos(seed: int, appends: int) -> Report:
    """Run the whole on a server of its own."""
    with LocalUpstash(seed=seed) as upstash:
        return Run(upstash, seed, appends).run()


PEER_FAULTS = tuple(fault for fault in FAULTS if fault.kind not in ("no_answer", "delay"))


def run_peer(seed: int, appends: int, *, retry_interval: float = 3.0, times: float = 1.0) -> Report:
    """Give the same kind of work to langchain-community's class.

    It has no async code, no batches, no idempotency keys, and waits for ever where no answer comes: so writers are
    threads, and that fault is left out.

    Args:
        seed: As for `run_chaos`.
        appends: How many; its client sleeps after each lost reply.
        retry_interval: For how many seconds it sleeps; 3 is what it has by itself.
        times: How much more often the faults hit than in `run_chaos`.
    """
    from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as Peer
    from upstash_redis import Redis

    began = time.monotonic()
    report = Report(seed, "langchain-community", note=f"; no_answer left out, {retry_interval:g} s between its tries")
    plans = planned(seed, appends, large=False)
    acknowledged: set[str] = set()
    failed: set[str] = set()
    with LocalUpstash(seed=seed) as upstash:
        for fault in PEER_FAULTS:
            upstash.faults.add(fault, probability=fault.probability * times)

        def write(plan: Sequence[Append]) -> None:
            with contextlib.closing(
                Redis(upstash.url, upstash.token, rest_retry_interval=retry_interval, allow_telemetry=False)
            ) as client:
                for append in plan:
                    history = Peer(append.session, upstash.url, upstash.token, ttl=append.ttl)
                    history.redis_client.close()
                    history.redis_client = client
                    try:
                        history.add_messages(append.messages)
                    except Exception as error:
                        failed.update(append.texts)
                        report.outcomes[f"raised {type(error).__name__}"] += 1
                    else:
                        acknowledged.update(append.texts)
                        report.outcomes["no error"] += 1

        with ThreadPoolExecutor(WRITERS) as threads:
            list(threads.map(write, plans))
        upstash.faults.clear()
        time.sleep(LATEST + 0.3)
        sessions = [SHARED, *(f"session-{number}" for number in range(SESSIONS))]
        found = Counter(
            str(message.content)
            for name in sessions
            for message in UpstashRedisChatMessageHistory(name, upstash.url, upstash.token).messages
        )
    report.appends = sum(map(len, plans))
    report.doubled = sorted(text for text, count in found.items() if count > 1)
    report.lost = sorted(acknowledged - set(found))
    report.wrong = [f"{text} raised an error, and is stored" for text in sorted(failed & set(found))]
    report.seconds = time.monotonic() - began
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Count what is lost and doubled under faults of every kind.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--appends", type=int, default=10_000)
    parser.add_argument(
        "--peer", action="store_true", help="also langchain-community's class, with 400 appends at most"
    )
    options = parser.parse_args()
    report = run_chaos(options.seed, options.appends)
    print(report)
    if options.peer:
        print()
        print(run_peer(options.seed, min(options.appends, 400)))
    raise SystemExit(bool(report.flaws))


if __name__ == "__main__":
    main()
