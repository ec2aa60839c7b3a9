"""The same kind of work for langchain-community's class."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from chatstash import UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash
from tests.reliability.chaos.odds import FAULTS, let_late_ones_arrive
from tests.reliability.chaos.plan import OWN, SHARED, WRITERS, Append, planned
from tests.reliability.chaos.report import Report

_FAULTS = tuple(fault for fault in FAULTS if fault.kind not in ("no_answer", "delay"))


def run_peer(seed: int, appends: int, *, retry_interval: float = 3.0, times: float = 1.0) -> Report:
    """Give the same kind of work to langchain-community's class.

    It has no async code, no batches, no idempotency keys, and waits for ever where no answer comes: so writers are
    threads, and that fault is left out.

    Args:
        seed: As for a `Run`.
        appends: How many; its client sleeps after each lost reply.
        retry_interval: For how many seconds it sleeps; 3 is what it has by itself.
        times: How much more often the faults hit than in a `Run`.
    """
    from langchain_community.chat_message_histories import UpstashRedisChatMessageHistory as Peer
    from upstash_redis import Redis

    began = time.monotonic()
    report = Report(seed, "langchain-community", note=f"; no_answer left out, {retry_interval:g} s between its tries")
    plans = planned(seed, appends, only_plain=True)
    acknowledged: set[str] = set()
    failed: set[str] = set()
    with LocalUpstash(seed=seed) as upstash:
        for fault in _FAULTS:
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
        let_late_ones_arrive(upstash)
        sessions = (SHARED, *OWN)
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
