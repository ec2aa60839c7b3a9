"""A process that ends while threads and a loop are inside requests ends quietly, and can still write as it ends."""

import asyncio
import atexit
import threading

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

history = UpstashRedisChatMessageHistory("exit-under-way", ttl=60, timeout=60)
history.clear()
begun = threading.Barrier(5)


def work() -> None:
    history.add_user_message("x")
    begun.wait()
    while True:
        history.add_user_message("x")


async def awork() -> None:
    await history.aadd_messages([HumanMessage("x")])
    begun.wait()
    while True:
        await history.aadd_messages([HumanMessage("x")])


def at_the_end() -> None:
    history.add_user_message("last")
    asyncio.run(history.aadd_messages([HumanMessage("very last")]))
    assert {"last", "very last"} <= {message.content for message in history.messages}
    print("ok", flush=True)


def after_main() -> None:
    """Go on when the main thread has ended."""
    threading.main_thread().join()
    history.add_user_message("after the main thread")


atexit.register(at_the_end)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
threading.Thread(target=asyncio.run, args=(awork(),), daemon=True).start()
threading.Thread(target=after_main).start()
begun.wait()
