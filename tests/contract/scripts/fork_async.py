"""A fork after async use: parent and child each run a loop of their own, at once; never the other's reply."""

import asyncio
import os

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

ROUNDS = 100


async def use(name: str) -> None:
    history = UpstashRedisChatMessageHistory(f"fork-async-{name}", ttl=60)
    for number in range(ROUNDS):
        await history.aadd_messages([HumanMessage(f"{name}-{number}")])
        if number % 3 == 0:
            contents = [message.content for message in await history.aget_messages()]
            assert all(content.startswith(f"{name}-") for content in contents), contents
            assert contents[-1] == f"{name}-{number}"
        if number % 30 == 29:
            await history.aclear()


loop = asyncio.new_event_loop()
loop.run_until_complete(use("before"))
child = os.fork()
if child == 0:
    try:
        asyncio.run(use("child"))
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
loop.run_until_complete(use("parent"))
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
print("ok")
