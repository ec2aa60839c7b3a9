"""A signal handler that raises at any moment of a request (Ctrl-C, a soft time limit): the pool goes on working."""

import random
import signal

from chatstash import UpstashRedisChatMessageHistory


class Interruption(Exception):
    pass


def interrupt(*_: object) -> None:
    raise Interruption


def read_often() -> None:
    for _ in range(50):
        assert len(history.messages) == 1


def is_interrupted() -> bool:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00005, 0.002))
        read_often()
    except Interruption:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False


random.seed(7)
history = UpstashRedisChatMessageHistory("interrupted", timeout=60)
history.clear()
history.add_user_message("x")
signal.signal(signal.SIGALRM, interrupt)
interrupted = 0
for _ in range(300):
    # Outside too: from Python 3.13 on, an exception of a handler can miss the `except` of its own function.
    try:
        interrupted += is_interrupted()
    except Interruption:
        interrupted += 1
# An exception that lands in a finaliser is lost: Python itself passes it over.
assert interrupted > 250, interrupted
assert len(history.messages) == 1
print("ok")
