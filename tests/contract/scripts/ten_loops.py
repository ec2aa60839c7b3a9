"""asyncio.run ten times in a row: each loop's connections end with it."""

import asyncio
import gc
import os

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

history = UpstashRedisChatMessageHistory("loops", ttl=60)


async def turn(number: int) -> None:
    await asyncio.gather(*(history.aget_messages() for _ in range(5)))
    await history.aadd_messages([HumanMessage(str(number))])
    assert len(await history.aget_messages()) == number + 1


counts = []
for number in range(10):
    asyncio.run(turn(number))
    gc.collect()
    counts.append(len(os.listdir("/proc/self/fd")))
assert len(set(counts)) == 1, counts
print("ok")
