"""A store closed while 300 tasks use it: each gets its result or an error of the tree; nobody is cancelled."""

import asyncio
import logging

from langchain_core.messages import HumanMessage

from chatstash import ChatstashError, Store, UpstashRedisChatMessageHistory


async def main() -> None:
    store = Store(retries=0, max_connections=100)
    histories = [UpstashRedisChatMessageHistory(f"closed-{number}", ttl=60, store=store) for number in range(300)]
    await histories[0].aget_messages()
    tasks = [asyncio.create_task(history.aadd_messages([HumanMessage("x")])) for history in histories]
    # As many requests as there are connections are under way, and as many tasks wait.
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await store.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, ChatstashError) for result in results), results
    assert any(isinstance(result, ChatstashError) for result in results)


logging.getLogger("chatstash").disabled = True  # each failed write is logged, too
asyncio.run(main())
print("ok")
