"""One run of chaos on one server."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from chatstash import Applied, DatabaseError, Outcome, OutcomeUnknown, Store, UpstashRedisChatMessageHistory
from chatstash.history.records.identity import has_id, identity
from chatstash.local import LocalUpstash
from chatstash.local.stats import StatsSnapshot
from chatstash.rest.metrics import Operation
from tests.conftest import command
from tests.reliability.chaos import clocks, odds
from tests.reliability.chaos.judge import Judge
from tests.reliability.chaos.ledger import Ledger
from tests.reliability.chaos.meddling import Meddlers
from tests.reliability.chaos.plan import BOUND, BOUNDED, SESSIONS, Append, Name, names_of, planned
from tests.reliability.chaos.readers import WAYS, Reader, read_in_a_loop
from tests.reliability.chaos.report import Report
from tests.reliability.chaos.setting import Setting
from tests.reliability.chaos.watch import UNHARMED, Watch

CACHE_BYTES = 20_000_000
_ALL = f"{UNHARMED.decode()}return redis.call('LRANGE', KEYS[1], 0, -1)"


@dataclass
class _Spent:
    """What a class of operation cost the clients."""

    operations: int = 0
    requests: int = 0
    commands: int = 0

    def add(self, operation: Operation) -> None:
        self.operations += 1
        self.requests += operation.requests
        self.commands += operation.commands


@dataclass
class Run:
    """Writers 0 to 3 are threads, 4 to 7 tasks of one event loop; readers and meddlers are threads."""

    upstash: LocalUpstash
    seed: int
    appends: int
    setting: Setting = field(default_factory=Setting)

    def __post_init__(self) -> None:
        self.plans = planned(self.seed, self.appends)
        self.report = Report(self.seed, f"chatstash, {self.setting.delivery}")
        self.ledger = Ledger()
        self.ledger.plan(self.all)
        self.watch = Watch()
        self.announced: list[Append] = []
        self.spent = _Spent()
        self._settled: set[tuple[int, int]] = set()
        self.store, self.cached = self._store(), self._store(cache_bytes=CACHE_BYTES)
        looking = self._reader("look")
        self.meddlers = Meddlers(
            self.upstash, self.ledger, self.seed, most_damage=self.appends // 20, kept_held=self.setting.kept_held,
            look=lambda session: looking.read(session, looking.chances.choice(WAYS[1:])),
        )  # fmt: skip

    def _reader(self, name: str) -> Reader:
        chances = random.Random(f"{name}/{self.seed}")
        return Reader([self.store, self.cached], self.ledger, self.report, chances)

    @property
    def all(self) -> list[Append]:
        """All appends."""
        return [append for plan in self.plans for append in plan]

    def _store(self, cache_bytes: int | None = None) -> Store:
        return Store(
            self.upstash.url, self.upstash.token, timeout=6, retries=6, max_request_bytes=100_000,
            delivery=self.setting.delivery, cache_bytes=cache_bytes, on_operation=self._count,
        )  # fmt: skip

    def _count(self, operation: Operation) -> None:
        if operation.name == "append":
            self.spent.add(operation)

    def history(self, append: Append) -> UpstashRedisChatMessageHistory:
        """Return the history that makes an append."""
        return UpstashRedisChatMessageHistory(
            append.session,
            ttl=append.ttl,
            retries=0 if append.impatient else None,
            max_stored_messages=BOUND if append.session == BOUNDED else None,
            store=self.cached if append.writer % 2 else self.store,
        )

    def run(self) -> Report:
        """Run, judge and return the report."""
        began, before = time.monotonic(), self.upstash.stats
        for fault in self.setting.faults:
            self.upstash.faults.add(fault)
        with contextlib.ExitStack() as stack:
            if self.setting.are_clocks_wrong:
                stack.enter_context(clocks.differing())
            stack.enter_context(self.watch.over(self.upstash))
            self._work()
            self._end(before)
        self.store.close()
        self.cached.close()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _work(self) -> None:
        """Let all work until the writers are done."""
        done = self.meddlers.done
        with ThreadPoolExecutor(32) as threads:
            others = [threads.submit(work) for work in self.meddlers.works]
            reader = self._reader("read")
            looping_reader = Reader(
                [self._store(), self._store(cache_bytes=CACHE_BYTES)], self.ledger, self.report,
                random.Random(f"aread/{self.seed}"),
            )  # fmt: skip
            others.append(threads.submit(reader.read_until, done))
            others.append(threads.submit(read_in_a_loop, looping_reader, done))
            writing = [threads.submit(self._write, plan) for plan in self.plans[:4]]
            writing.append(threads.submit(asyncio.run, self._write_all(self.plans[4:])))
            try:
                for future in writing:
                    future.result()
            finally:
                done.set()
                self.upstash.faults.clear()
            for future in others:
                future.result()

    def _write(self, plan: Sequence[Append]) -> None:
        self._set_clock(plan)
        for append in self._steps(plan):
            with self._recorded(append):
                self.history(append).add_messages(append.messages, idempotency_key=append.key)
            if self._call_off(append):
                with self._recorded(append):
                    self.history(append).add_messages(append.messages)

    async def _write_all(self, plans: Sequence[Sequence[Append]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for plan in plans:
                tasks.create_task(self._awrite(plan))

    async def _awrite(self, plan: Sequence[Append]) -> None:
        self._set_clock(plan)
        for append in self._steps(plan):
            with self._recorded(append):
                await self.history(append).aadd_messages(append.messages, idempotency_key=append.key)

    def _set_clock(self, plan: Sequence[Append]) -> None:
        if self.setting.are_clocks_wrong and plan:
            clocks.set_wrong(self.seed, plan[0].writer)

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
        self.ledger.begin(append)
        try:
            yield
        except OutcomeUnknown as error:
            self.ledger.unknown[append.identity] = error
        except DatabaseError as error:
            if error.applied is not Applied.NO:
                self.report.wrong.append(f"{append.identity}: {error!r}")
            self.ledger.refused.add(append.identity)
        else:
            self.ledger.acknowledge(append)

    def _call_off(self, append: Append) -> bool:
        """With strict delivery, settle a lost append at once; tells whether it is to be made again."""
        error = self.ledger.unknown.get(append.identity)
        if error is None or append.key or self.setting.delivery == "standard":
            return False
        try:
            outcome = self._patient(append).check_outcome(error)
        except DatabaseError:
            return False
        del self.ledger.unknown[append.identity]
        if outcome is Outcome.STORED:
            self.ledger.acknowledge(append)
        self.report.outcomes[f"unknown, settled at once as {outcome.value}"] += 1
        return outcome is Outcome.NOT_STORED

    def _patient(self, append: Append) -> UpstashRedisChatMessageHistory:
        return self.history(replace(append, impatient=False))

    def _end(self, before: StatsSnapshot) -> None:
        """Let all that is late arrive, settle, read once more in every way, and judge."""
        spent = self.upstash.stats - before
        time.sleep(self.setting.late)
        odds.let_late_ones_arrive(self.upstash)
        is_strict = self.setting.delivery == "strict"
        if is_strict:
            # What is held does nothing any more, unless it has an idempotency key.
            self._settle_unknown(in_flight_seconds=10_000)
        self.meddlers.release_all()
        self._read_in_every_way()
        final = {session: self._read(session) for session in SESSIONS}
        self._settle_unknown(in_flight_seconds=0)
        for session in SESSIONS:
            if self._read(session) != final[session]:
                self.report.wrong.append(f"{session} changed when all was over")
        self._tabulate()
        Judge(self.ledger, self.report, self.all, final, self.watch.requests).judge()
        self._figure(spent)

    def _read_in_every_way(self) -> None:
        reader = self._reader("end")
        for session in SESSIONS:
            for way in (*WAYS, *WAYS):
                # The whole is last, for it takes out all duplicates.
                if way != "whole":
                    reader.read(session, way)

    def _read(self, session: str) -> list[Name]:
        history = UpstashRedisChatMessageHistory(session, store=self.store, on_corrupt="skip")
        return [name for name, _ in names_of(history.messages)]

    def _settle_unknown(self, in_flight_seconds: float) -> None:
        for append in self.all:
            error = self.ledger.unknown.get(append.identity)
            if error is None or append.identity in self._settled:
                continue
            outcome = self._patient(append).check_outcome(error, in_flight_seconds=in_flight_seconds)
            if outcome is Outcome.STILL_POSSIBLE:
                continue
            self._settled.add(append.identity)
            if outcome is Outcome.STORED:
                # Nothing tells when: it is as if it had begun at the beginning.
                self.ledger.acknowledge(append)
            self.report.outcomes[f"unknown, then settled as {outcome.value}"] += 1

    def _tabulate(self) -> None:
        for append in self.all:
            requests = self.watch.requests[append.identity]
            outcome = self._outcome(append, requests)
            self.report.outcomes[outcome] += 1
            for _, kinds in requests:
                for kind in kinds:
                    self.report.table[kind][outcome] += 1
        for kind, count in self.watch.others.items():
            self.report.table[kind]["of a read or a part"] += count

    def _outcome(self, append: Append, requests: list[tuple[str, list[str]]]) -> str:
        if append.identity in self.ledger.unknown:
            return "unknown"
        if append.identity in self.ledger.refused:
            return "refused"
        return "at once" if len(requests) <= 1 else "tried again"

    def _figure(self, spent: StatsSnapshot) -> None:
        left = sum(map(self._duplicates_left, SESSIONS))
        did = self.meddlers.did
        self.report.figures = {
            "appends, repeats and tries after settling": self.spent.operations,
            "their requests": self.spent.requests,
            "their commands, as far as replies tell": self.spent.commands,
            "requests of the whole run": spent.requests,
            "billed commands of the whole run": spent.billed_commands,
            "looks for duplicates": self.watch.looks,
            "duplicates removed by readers": self.watch.removed,
            "duplicates quarantined by the doctor": did.pop("duplicates quarantined", 0),
            "duplicates left in storage": left,
            **did,
        }

    def _duplicates_left(self, session: str) -> int:
        stored = [raw.encode() for raw in command(self.upstash, "EVAL", _ALL, 1, f"message_store:{session}")]
        names = [identity(raw) for raw in stored if has_id(raw)]
        return len(names) - len({*names})


def run_chaos(seed: int, appends: int, setting: Setting | None = None) -> Report:
    """Run the whole on a server of its own."""
    with LocalUpstash(seed=seed) as upstash:
        return Run(upstash, seed, appends, setting or Setting()).run()
