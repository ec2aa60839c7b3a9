"""Tasks cancelled at any moment of a request: what goes on is right, and each append is stored once or not at all."""

import asyncio
import random

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

ENOUGH = 60


class Patience:
    """How long a task may run before it is cancelled: about half of them end in time, however fast the machine is."""

    def __init__(self) -> None:
        self.longest = 0.003

    def choose(self) -> float:
        return random.uniform(0, self.longest)

    def learn(self, *, cancelled: bool) -> None:
        self.longest *= 1.1 if cancelled else 1 / 1.1


async def main() -> None:
    random.seed(7)
    history = UpstashRedisChatMessageHistory("cancelled", ttl=60, timeout=60)
    appending, reading = Patience(), Patience()
    stored, cancelled, number = set(), 0, 0
    while min(len(stored), cancelled) < ENOUGH:
        number += 1
        append = asyncio.create_task(history.aadd_messages([HumanMessage(str(number))]))
        await asyncio.sleep(appending.choose())
        append.cancel()
        try:
            await append
            stored.add(str(number))
        except asyncio.CancelledError:
            cancelled += 1
        appending.learn(cancelled=str(number) not in stored)
        if number % 20 == 0:
            try:
                async with asyncio.timeout(reading.choose()):
                    await history.aget_messages()
                reading.learn(cancelled=False)
            except TimeoutError:
                reading.learn(cancelled=True)
    contents = [message.content for message in await history.aget_messages()]
    assert len(contents) == len(set(contents))
    assert stored <= set(contents)


asyncio.run(main())
print("ok")
