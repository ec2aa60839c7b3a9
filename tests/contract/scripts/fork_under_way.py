"""Forks while other threads are inside requests: each child goes on with the same history object, and so do they."""

import os
import sys
import threading
import time
import warnings

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

CHILDREN = 8

# It says that a fork among threads may deadlock: this is about that.
warnings.simplefilter("ignore", DeprecationWarning)
history = UpstashRedisChatMessageHistory("fork-under-way", ttl=60, timeout=60)
history.clear()
done = threading.Event()
written: list[str] = []
failures: list[BaseException] = []


def write(name: str) -> None:
    number = 0
    try:
        while not done.is_set():
            texts = [f"{name}/{number}a", f"{name}/{number}b"]
            history.add_messages([HumanMessage(text) for text in texts])
            written.extend(texts)
            number += 1
            if number % 20 == 0:
                assert written[0] in {message.content for message in history.messages}
    except BaseException as error:
        failures.append(error)


def child(number: int) -> None:
    history.add_messages([HumanMessage(f"child/{number}")], idempotency_key=f"child-{number}")
    assert f"child/{number}" in [message.content for message in history.messages]


threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
for thread in threads:
    thread.start()
while len(written) < 8 and not failures:
    time.sleep(0.001)
for number in range(CHILDREN):
    process = os.fork()
    if process == 0:
        try:
            child(number)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        # Half of them end in the ordinary way.
        os._exit(0) if number % 2 else sys.exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
done.set()
for thread in threads:
    thread.join()
assert failures == [], failures
contents = [message.content for message in history.messages]
assert sorted(contents) == sorted([*written, *(f"child/{number}" for number in range(CHILDREN))])
print("ok")
