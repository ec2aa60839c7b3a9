"""16 threads, each with its own conversation and all with one in common: nothing lost, each writer's order kept."""

import os
from concurrent.futures import ThreadPoolExecutor

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

TURNS = 20


def converse(number: int) -> None:
    own = UpstashRedisChatMessageHistory(f"thread-{number}", ttl=60)
    common = UpstashRedisChatMessageHistory("threads", ttl=60)
    for turn in range(TURNS):
        own.add_messages([HumanMessage(f"{number}/{turn}")])
        common.add_messages([HumanMessage(f"{number}/{turn}a"), HumanMessage(f"{number}/{turn}b")])
        assert [message.content for message in own.messages] == [f"{number}/{done}" for done in range(turn + 1)]


before = len(os.listdir("/proc/self/fd"))
with ThreadPoolExecutor(16) as threads:
    list(threads.map(converse, range(16)))
contents = [message.content for message in UpstashRedisChatMessageHistory("threads").messages]
assert len(contents) == 16 * TURNS * 2
for number in range(16):
    mine = [content for content in contents if content.startswith(f"{number}/")]
    assert mine == [f"{number}/{turn}{part}" for turn in range(TURNS) for part in "ab"]
for first, second in zip(contents[::2], contents[1::2], strict=True):
    assert first[:-1] == second[:-1]
assert len(os.listdir("/proc/self/fd")) <= before + 17
print("ok")
