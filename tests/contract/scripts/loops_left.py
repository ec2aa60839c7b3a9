"""Event loops that are never closed, or closed and nothing else: they take their connections along, without a word."""

import asyncio
import gc
import logging
import os
import threading
import warnings

from chatstash import Store, UpstashRedisChatMessageHistory

warnings.filterwarnings("ignore", "unclosed event loop", ResourceWarning)  # the test's own
# asyncio's own word for a loop that is left with tasks.
logging.getLogger("asyncio").addFilter(lambda record: "Task was destroyed" not in record.getMessage())
store = Store(timeout=60, max_connections=4)


def descriptors() -> int:
    gc.collect()
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def use() -> None:
    """More at once than there are connections, so that some wait."""
    await asyncio.gather(*(store.session(f"loops-{number}").aread() for number in range(10)))
    assert await UpstashRedisChatMessageHistory("loops", store=store).aget_messages() == []


def never_closed() -> None:
    asyncio.new_event_loop().run_until_complete(use())


def left_under_way() -> None:
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(use()) for _ in range(3)]
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    del tasks


def closed() -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    loop.close()


asyncio.run(use())
before = descriptors()
for what in (never_closed, left_under_way, closed):
    threads = [threading.Thread(target=what) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del threads, thread
    assert descriptors() == before, (what, descriptors(), before)
asyncio.run(use())
assert descriptors() == before
print("ok")
