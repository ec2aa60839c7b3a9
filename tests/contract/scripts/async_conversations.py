"""100 conversations at once on one event loop; each finds its own messages, whether it adds or reads."""

import asyncio
import os

from langchain_core.messages import AIMessage, HumanMessage

from chatstash import UpstashRedisChatMessageHistory


async def converse(number: int) -> None:
    history = UpstashRedisChatMessageHistory(f"async-{number}", ttl=60)
    expected = []
    for turn in range(5):
        said = [HumanMessage(f"{number}/{turn}"), AIMessage(f"{number}/{turn} indeed")]
        await history.aadd_messages(said)
        expected += said
        assert await history.aget_messages() == expected


async def main() -> int:
    await asyncio.gather(*(converse(number) for number in range(100)))
    return len(os.listdir("/proc/self/fd"))


before = len(os.listdir("/proc/self/fd"))
assert asyncio.run(main()) < before + 150
assert len(os.listdir("/proc/self/fd")) <= before
print("ok")
