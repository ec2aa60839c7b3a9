"""A small turn beside a bare socket: `make bench`, `python -m benchmarks.turn --json FILE`.

A turn reads a conversation of 20 messages and adds 2, with a ttl: two requests on an open connection. The bare socket
is blocking. It sends the very same bytes and receives the very same replies, and does nothing else. urllib3 sends the
same requests and does not look into the replies. LangChain's part is its own conversion of the 20 messages from JSON,
and of the 2 to JSON, without any request. All take turns against one local server in another process. Each figure is
the client's CPU time for one turn, in microseconds. Asserts nothing.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence

import urllib3
from langchain_core.messages import messages_from_dict, messages_to_dict
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.local_server import TOKEN, Relay, Server, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.rounds import conversation
from benchmarks.spread import ratio, spread
from chatstash import UpstashRedisChatMessageHistory

TTL = 3600
LENGTH = 20
CONVERSATIONS = 50
"""Each round has one turn of each conversation."""


TURN = conversation(2)


class Conversations:
    """Conversations of equal length, which grow by a turn each and are cut again.

    Args:
        url: The database's REST URL.
        name: Begins their session ids.
    """

    def __init__(self, url: str, name: str) -> None:
        self._histories = [
            UpstashRedisChatMessageHistory(f"{name}-{index:03}", url, TOKEN, ttl=TTL) for index in range(CONVERSATIONS)
        ]
        for history in self._histories:
            history.clear()
            history.add_messages(conversation(LENGTH))

    def turns(self) -> None:
        """Read and add, one conversation after the other."""
        for history in self._histories:
            history.messages  # noqa: B018 - it reads
            history.add_messages(TURN)

    async def aturns(self) -> None:
        """Read and add as `turns` does, on an event loop."""
        for history in self._histories:
            await history.aget_messages()
            await history.aadd_messages(TURN)

    def cut(self, database: Server) -> None:
        """Remove what the turns added."""
        for history in self._histories:
            database.run("LTRIM", history.key, 2, -1)


class BareSocket:
    """Sends recorded requests and receives their replies.

    Args:
        port: The server's port on 127.0.0.1.
        recorded: Each request, and the size of its reply.
    """

    def __init__(self, port: int, recorded: Sequence[tuple[bytes, int]]) -> None:
        self._recorded = recorded
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def turns(self) -> None:
        """Send each request and receive its reply."""
        sock = self._sock
        for request, size in self._recorded:
            sock.sendall(request)
            left = size
            while left > 0:
                left -= len(sock.recv(1 << 16))


class Urllib3:
    """Sends recorded requests with urllib3 and receives their replies.

    Args:
        url: The database's REST URL.
        recorded: Each request, and the size of its reply.
    """

    def __init__(self, url: str, recorded: Sequence[tuple[bytes, int]]) -> None:
        self._pool = urllib3.PoolManager()
        self._requests = []
        for request, _ in recorded:
            head, _, body = request.decode().partition("\r\n\r\n")
            start, *lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines if not line.startswith(("host", "content-length")))
            self._requests.append((url + start.split()[1], headers, body.encode()))

    def turns(self) -> None:
        """Send each request and receive its reply."""
        for url, headers, body in self._requests:
            self._pool.request("POST", url, headers=headers, body=body)


def convert() -> None:
    """Convert the messages of each turn with LangChain alone."""
    for _ in range(CONVERSATIONS):
        messages_from_dict([json.loads(text) for text in STORED])
        for message in messages_to_dict(TURN):
            json.dumps(message)


STORED = [json.dumps(message) for message in messages_to_dict(conversation(LENGTH))]


def recorded_turns(database: Server) -> tuple[Conversations, list[tuple[bytes, int]]]:
    """Return conversations, and the requests of one turn of each with the sizes of their replies."""
    relay = Relay(database.port, records=True)
    conversations = Conversations(f"http://127.0.0.1:{relay.port}", "recorded")
    relay.recorded.clear()
    conversations.turns()
    conversations.cut(database)
    return conversations, relay.recorded


def measured(database: Server, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the microseconds of CPU per turn of each, in each round."""
    recorded, requests = recorded_turns(database)
    bare, blocking = BareSocket(database.port, requests), Conversations(database.url, "blocking")
    works: dict[str, tuple[Callable[[], object], Conversations | None]] = {
        "bare socket": (bare.turns, recorded), "LangChain's part": (convert, None),
        "urllib3": (Urllib3(database.url, requests).turns, recorded), "chatstash, blocking": (blocking.turns, blocking),
    }  # fmt: skip
    with asyncio.Runner() as runner, asyncio.Runner(loop_factory=_uvloop()) as quick:
        for name, loop in {"chatstash, asyncio": runner, "chatstash, uvloop": quick}.items():
            if loop is runner or _uvloop():
                used = Conversations(database.url, name)
                works[name] = (lambda loop=loop, used=used: loop.run(used.aturns()), used)
        spent: dict[str, list[float]] = {name: [] for name in works}
        for _ in track(range(rounds + 1), "turns", console=Console(stderr=True)):
            for name, (run, conversations) in works.items():
                start = time.process_time()
                run()
                spent[name].append((time.process_time() - start) * 1e6 / CONVERSATIONS)
                if conversations is not None:
                    conversations.cut(database)
    return {name: {"cpu_us": values[1:]} for name, values in spent.items()}


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 - optional

    return uvloop.new_event_loop


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    given = parser.parse_args()
    with server() as database:
        found = measured(database, given.rounds)
    _print(found)
    write({"machine": machine(), "cpu": found}, given.json)


def _print(found: Mapping[str, Mapping[str, list[float]]]) -> None:
    table = Table("", "µs", "bare socket =", title="client CPU of a small turn")
    for name, each in found.items():
        times = ratio(each, found["bare socket"], "cpu_us")
        table.add_row(name, spread(each["cpu_us"]).shown("{:.0f}"), times.shown("{:.1f}×"))
    Console().print(table)


if __name__ == "__main__":
    main()
