"""Ctrl-C at many moments of an append: by its idempotency key it is decided, and made once in the end."""

import random
import signal

from langchain_core.messages import HumanMessage

from chatstash import Outcome, UpstashRedisChatMessageHistory

ROUNDS = 250

random.seed(7)
history = UpstashRedisChatMessageHistory("interrupted-appends", timeout=5, max_request_bytes=100_000)
history.clear()
signal.signal(signal.SIGALRM, signal.default_int_handler)
interrupted = 0
expected = []
for number in range(ROUNDS):
    # Every fifth is over the size of a request, and so several requests.
    filler = "x" * 60_000 if number % 5 == 0 else ""
    texts = [f"{number}/{part}{filler}" for part in range(2)]
    messages = [HumanMessage(text) for text in texts]
    key = f"key-{number}"
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.004 if filler else 0.002))
            history.add_messages(messages, idempotency_key=key)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
        assert history.check_outcome(key) in (Outcome.STORED, Outcome.STILL_POSSIBLE)
    history.add_messages(messages, idempotency_key=key)
    assert history.check_outcome(key) is Outcome.STORED
    expected += texts
assert [message.content for message in history.messages] == expected
assert interrupted > 20, interrupted
history.clear()
print("ok")
