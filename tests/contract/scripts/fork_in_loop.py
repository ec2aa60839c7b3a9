"""A fork within a running loop, whose child ends in the ordinary way: the parent goes on as if nothing had been."""

import asyncio
import os
import sys
import time

from chatstash import UpstashRedisChatMessageHistory


async def main() -> None:
    asyncio.get_running_loop().slow_callback_duration = 10  # the loop is held up on purpose
    history = UpstashRedisChatMessageHistory("fork-in-loop", ttl=60, timeout=60, retries=0)
    await history.aget_messages()
    child = os.fork()
    if child == 0:
        if sys.version_info >= (3, 14):
            os._exit(0)  # asyncio itself hangs at an ordinary end of such a child
        os.close(2)  # and complains of it before 3.14
        sys.exit(0)
    while os.waitpid(child, os.WNOHANG) == (0, 0):  # noqa: ASYNC222
        time.sleep(0.01)  # noqa: ASYNC251 - the loop must not run meanwhile
    await history.aget_messages()


asyncio.run(main())
print("ok")
