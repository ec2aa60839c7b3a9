"""A child takes no idle connection of its parent, in a blocking caller as in a loop, and leaves it to the parent."""

import asyncio
import json
import os
import sys
import urllib.request

from chatstash import UpstashRedisChatMessageHistory

history = UpstashRedisChatMessageHistory("fork-connections", timeout=60, retries=0)


def connections() -> int:
    url = f"{os.environ['CHATSTASH_CONTROL_URL']}/stats"
    authorization = f"Bearer {os.environ['UPSTASH_REDIS_REST_TOKEN']}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"authorization": authorization})) as reply:
        return int(json.load(reply)["connections"])


def read() -> None:
    if sys.argv[1] == "sync":
        assert history.messages == []
    else:
        assert loop.run_until_complete(history.aget_messages()) == []


loop = asyncio.new_event_loop()
read()
before = connections()
child = os.fork()
if child == 0:
    try:
        read()
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
after_child = connections()
read()
assert (after_child - before, connections() - after_child) == (1, 0), (before, after_child, connections())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
print("ok")
