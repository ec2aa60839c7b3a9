"""Tasks cancelled at any moment of a request: what goes on is right, and each append is stored once or not at all."""

import asyncio
import random

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory


async def main() -> None:
    random.seed(7)
    history = UpstashRedisChatMessageHistory("cancelled", ttl=60, timeout=5)
    stored = set()
    for number in range(400):
        append = asyncio.create_task(history.aadd_messages([HumanMessage(str(number))]))
        await asyncio.sleep(random.uniform(0, 0.003))
        append.cancel()
        try:
            await append
            stored.add(str(number))
        except asyncio.CancelledError:
            pass
        if number % 20 == 0:
            try:
                async with asyncio.timeout(random.uniform(0, 0.003)):
                    await history.aget_messages()
            except TimeoutError:
                pass
    contents = [message.content for message in await history.aget_messages()]
    assert len(contents) == len(set(contents))
    assert stored <= set(contents)
    assert 0 < len(stored) < 400, len(stored)


asyncio.run(main())
print("ok")
