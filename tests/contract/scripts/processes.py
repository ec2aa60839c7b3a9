"""Four processes write one conversation at once: nothing is lost, each batch is whole and in order."""

import multiprocessing

from langchain_core.messages import HumanMessage

from chatstash import UpstashRedisChatMessageHistory

PROCESSES, BATCHES, SIZE = 4, 25, 3


def write(name: int) -> None:
    history = UpstashRedisChatMessageHistory("processes", ttl=60)
    for batch in range(BATCHES):
        history.add_messages([HumanMessage(f"{name}.{batch}.{part}") for part in range(SIZE)])


if __name__ == "__main__":
    UpstashRedisChatMessageHistory("processes").add_user_message("opens a connection")
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        pool.map(write, range(PROCESSES))
    history = UpstashRedisChatMessageHistory("processes")
    texts = [str(message.content) for message in history.messages if "." in str(message.content)]
    batches = [texts[first : first + SIZE] for first in range(0, len(texts), SIZE)]
    for batch in batches:
        name, number, _ = batch[0].split(".")
        assert batch == [f"{name}.{number}.{part}" for part in range(SIZE)], batch
    for name in range(PROCESSES):
        numbers = [int(batch[0].split(".")[1]) for batch in batches if batch[0].startswith(f"{name}.")]
        assert numbers == list(range(BATCHES)), numbers
    print("ok")
