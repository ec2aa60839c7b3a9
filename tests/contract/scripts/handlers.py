"""A signal handler that reads a conversation, a millisecond after the last time, whatever the main thread is doing."""

import os
import signal
import sys
import threading
import time

from langchain_core.messages import HumanMessage

from chatstash import Store, UpstashRedisChatMessageHistory

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
INTERRUPTIONS = 300

store = Store(cache_bytes=1_000_000, timeout=90)
history = UpstashRedisChatMessageHistory("handlers", store=store, ttl=3600)
other = UpstashRedisChatMessageHistory("handlers-other", store=store, ttl=3600)
history.clear()
other.clear()
other.add_user_message("mine")
ran: list[None] = []


def look(*_: object) -> None:
    assert [message.content for message in other.messages] == ["mine"]
    assert all(str(message.content).isdigit() for message in history.messages[-3:])
    store.stats()
    ran.append(None)
    signal.setitimer(signal.ITIMER_REAL, 0.001)


def stuck() -> None:
    print("stuck", flush=True)
    os._exit(1)


signal.signal(signal.SIGALRM, look)
signal.setitimer(signal.ITIMER_REAL, 0.001)
began = time.monotonic()
watchdog = threading.Timer(SECONDS + 90, stuck)
watchdog.daemon = True
watchdog.start()
number = 0
while len(ran) < INTERRUPTIONS or time.monotonic() - began < SECONDS:
    history.add_messages([HumanMessage(str(number))])
    number += 1
    if number % 20 == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        contents = [str(message.content) for message in history.messages]
        assert contents == list(map(str, range(number - len(contents), number))), contents
        history.clear()
        number = 0
        signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.setitimer(signal.ITIMER_REAL, 0)
print("ok")
