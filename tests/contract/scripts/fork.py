"""A fork after use: parent and child read and write distinct values at once, 200 times; never the other's reply."""

import os

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

ROUNDS = 200


def use(name: str) -> None:
    history = UpstashRedisChatMessageHistory(f"fork-{name}", ttl=60)
    for number in range(ROUNDS):
        history.add_messages([HumanMessage(f"{name}-{number}")])
        if number % 3 == 0:
            contents = [message.content for message in history.messages]
            assert all(content.startswith(f"{name}-") for content in contents), contents
            assert contents[-1] == f"{name}-{number}"
        if number % 30 == 29:
            history.clear()


UpstashRedisChatMessageHistory("fork-before").add_user_message("opens a connection")
child = os.fork()
if child == 0:
    try:
        use("child")
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)
use("parent")
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
print("ok")
