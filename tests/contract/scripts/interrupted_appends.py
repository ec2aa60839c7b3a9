"""Ctrl-C at many moments of an append: by its idempotency key it is decided, and made once in the end."""

import random
import signal

from langchain_core.messages import HumanMessage

from chatstash import Outcome, UpstashRedisChatMessageHistory

ENOUGH = 60

random.seed(7)
history = UpstashRedisChatMessageHistory("interrupted-appends", timeout=60, max_request_bytes=100_000)
history.clear()
signal.signal(signal.SIGALRM, signal.default_int_handler)
interrupted = finished = 0
# About half of the appends end in time, however fast the machine is.
longest = 0.002
expected = []
while min(interrupted, finished) < ENOUGH:
    number = interrupted + finished
    # Every fifth is over the size of a request, and so several requests.
    filler = "x" * 60_000 if number % 5 == 0 else ""
    texts = [f"{number}/{part}{filler}" for part in range(2)]
    messages = [HumanMessage(text) for text in texts]
    key = f"key-{number}"
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, longest))
            history.add_messages(messages, idempotency_key=key)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finished += 1
        longest = max(longest / 1.1, 0.0001)
    except KeyboardInterrupt:
        interrupted += 1
        longest *= 1.1
        assert history.check_outcome(key) in (Outcome.STORED, Outcome.STILL_POSSIBLE)
    history.add_messages(messages, idempotency_key=key)
    assert history.check_outcome(key) is Outcome.STORED
    expected += texts
assert [message.content for message in history.messages] == expected
history.clear()
print("ok")
