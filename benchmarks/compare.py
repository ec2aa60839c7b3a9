"""chatstash compared with other libraries: `make bench`, `python -m benchmarks.compare --json FILE`.

All use one local server in another process, and take turns. Each run is kept: the figures are medians of ratios within
one round, with their quartiles. CPU is that of this process alone. Asserts nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.messages import message_to_dict, messages_from_dict, messages_to_dict
from rich.console import Console
from rich.table import Table

from benchmarks.at_once import turns_at_once
from benchmarks.local_server import TOKEN, Relay, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from benchmarks.peers import Chatstash, ChatstashCached, Community, Peer, able
from benchmarks.rounds import Bench, Work, conversation
from benchmarks.spread import Runs
from benchmarks.start_up import start_up
from benchmarks.table import rows
from chatstash import UpstashRedisChatMessageHistory

_console = Console(stderr=True)


def turn(bench: Bench, kinds: Sequence[type[Peer]]) -> list[dict[str, Any]]:
    """Count a turn, with a ttl, on a conversation of 100 messages: read, then add question and answer."""
    found = []
    for kind in kinds:
        peer, relayed = bench.make(kind, f"turn-{kind.__name__}"), bench.relayed(kind, f"turn-{kind.__name__}")
        peer.add(conversation(100))
        for used in (peer, relayed):
            used.read()
        before = bench.server.stats()
        _turn(peer)
        after = bench.server.stats()
        found.append({
            "library": kind.name,
            "requests": after["requests"] - before["requests"] if kind.over_http else None,
            "billed_commands": after["billed_commands"] - before["billed_commands"] if kind.over_http else None,
            "bytes": bench.bytes_of(lambda relayed=relayed: _turn(relayed)),
        })  # fmt: skip
        peer.close()
        relayed.close()
    return found


def _turn(peer: Peer) -> None:
    peer.read()
    peer.add(conversation(2))


def add_many(bench: Bench, kinds: Sequence[type[Peer]], count: int = 500) -> list[dict[str, Any]]:
    """Time adding many messages at once."""
    peers = {kind.name: bench.make(kind, f"many-{kind.__name__}") for kind in kinds}
    messages = conversation(count)
    spent = bench.runs(f"add {count}", {name: Work(lambda p=peer: p.add(messages)) for name, peer in peers.items()})
    rows = []
    for kind in kinds:
        before = bench.server.stats()["requests"]
        peers[kind.name].add(messages)
        requests = bench.server.stats()["requests"] - before if kind.over_http else None
        rows.append({"library": kind.name, "requests": requests, **spent[kind.name]})
        peers[kind.name].close()
    return rows


def read_own(bench: Bench, kinds: Sequence[type[Peer]], count: int = 1000) -> list[dict[str, Any]]:
    """Time reading messages that the library itself wrote."""
    messages = conversation(count)
    works, sizes = {}, {}
    for kind in kinds:
        name = f"own-{kind.__name__}"
        peer, relayed = bench.make(kind, name), bench.relayed(kind, name)
        peer.add(messages)
        assert len(peer.read()) == count
        works[kind.name] = Work(peer.read)
        relayed.read()
        sizes[kind.name] = bench.bytes_of(relayed.read)
        relayed.close()
    spent = bench.runs(f"read {count}", works, times=5)
    return [{"library": kind.name, "bytes": sizes[kind.name], **spent[kind.name]} for kind in kinds]


def read_by_both(bench: Bench, count: int = 1000) -> dict[str, Runs]:
    """Time reading messages that the old class wrote, with both, and LangChain's own share of it."""
    messages = conversation(count)
    theirs, ours = bench.make(Community, "by-both"), bench.make(Chatstash, "by-both")
    theirs.add(messages)
    assert list(ours.read()) == list(theirs.read()) == messages
    dicts = messages_to_dict(messages)
    return bench.runs(f"read {count} of the old class", {
        "chatstash": Work(ours.read), "langchain-community": Work(theirs.read),
        "messages_from_dict": Work(lambda: messages_from_dict(dicts)),
    }, times=5)  # fmt: skip


def next_turn(bench: Bench, count: int = 1000) -> dict[str, Any]:
    """Time the read of the next turn of a conversation, with and without a cache."""
    found: dict[str, dict[str, Any]] = {}
    works = {}
    for kind in (Chatstash, ChatstashCached, Community):
        name = f"next-{kind.__name__}"
        peer, relayed = bench.make(kind, name), bench.relayed(kind, name)
        peer.add(conversation(count))
        for used in (peer, relayed):
            used.read()
        relayed.add(conversation(2))
        found[kind.name] = {"bytes": bench.bytes_of(relayed.read)}
        works[kind.name] = Work(peer.read, lambda peer=peer: peer.add(conversation(2)))
        relayed.close()
    for name, spent in bench.runs("next turn", works, times=5).items():
        found[name] |= spent
    return found


def append(bench: Bench, count: int = 1000) -> dict[str, Runs]:
    """Time the client's CPU for an append, and that of making the old class's JSON alone."""
    messages = conversation(count)
    peers = {kind.name: bench.make(kind, f"append-{kind.__name__}") for kind in (Chatstash, Community)}
    works = {name: Work(lambda peer=peer: peer.add(messages)) for name, peer in peers.items()}
    works["json.dumps"] = Work(lambda: [json.dumps(message_to_dict(message)) for message in messages])
    return bench.runs(f"append {count}", works)


def connections(bench: Bench, histories: int = 200) -> dict[str, int]:
    """Count the connections that histories open when used one after the other."""
    found = {}
    for kind in (Chatstash, Community):
        before = bench.server.stats()["connections"]
        for index in range(histories):
            peer = bench.make(kind, f"in-turn-{index}")
            peer.read()
            peer.close()
        found[kind.name] = bench.server.stats()["connections"] - before
    return found


def windows(bench: Bench, lengths: Sequence[int], last: int = 20) -> list[dict[str, Any]]:
    """Time a window on conversations of several lengths."""
    http = f"http://127.0.0.1:{bench.relays[0].port}"
    works, sizes = {}, []
    for length in lengths:
        history = UpstashRedisChatMessageHistory(f"window-{length}", bench.server.url, TOKEN)
        for _ in range(0, length, 10_000):
            history.add_messages(conversation(min(length, 10_000)))
        works[f"{length}"] = Work(partial(history.read, last=last))
        relayed = UpstashRedisChatMessageHistory(f"window-{length}", http, TOKEN)
        relayed.read(last=last)
        sizes.append(bench.bytes_of(partial(relayed.read, last=last)))
    spent = bench.runs(f"a window of {last}", works, times=5).values()
    return [{"length": length, "bytes": size, **runs} for length, size, runs in zip(lengths, sizes, spent, strict=True)]


def memory(bench: Bench, count: int = 1000) -> dict[str, int]:
    """Return the bytes that a conversation takes at the server."""
    found = {}
    for kind in (Chatstash, Community):
        bench.make(kind, f"memory-{kind.__name__}").add(conversation(count))
        key = f"message_store:memory-{kind.__name__}"
        found[kind.name] = int(bench.server.run("MEMORY", "USAGE", key, "SAMPLES", 0))
    return found


def measure(rounds: int, lengths: Sequence[int]) -> dict[str, Any]:
    """Measure everything."""
    with server() as local:
        bench = Bench(local, (Relay(local.port), Relay(local.redis_port)), rounds)
        kinds, absent = able(lambda kind: bench.make(kind, "able"))
        uncached = [kind for kind in kinds if kind is not ChatstashCached]
        return {
            "machine": machine(),
            "absent": absent,
            "turn": turn(bench, kinds),
            "add_many": add_many(bench, uncached),
            "read_own": read_own(bench, uncached),
            "read_by_both": read_by_both(bench),
            "next_turn": next_turn(bench),
            "append": append(bench),
            "turns_at_once": [turns_at_once(bench, 200), turns_at_once(bench, 1000, [Chatstash])],
            "connections": connections(bench),
            "windows": windows(bench, lengths),
            "memory": memory(bench),
            "start_up": start_up(2 * rounds),
        }


def show(found: dict[str, Any]) -> None:
    """Print the figures that have an aim."""
    table = Table("work", "aim", "measured", "")
    for row in rows(found):
        table.add_row(row.work, row.aim, row.figure, "met" if row.is_met else "missed")
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for name, reason in found["absent"].items():
        _console.print(f"{name} cannot run here: {reason}", highlight=False)


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="runs of each; the median counts (default 15)")
    parser.add_argument("--quick", action="store_true", help="3 runs of each, and windows on 10,000 messages at most")
    options = parser.parse_args()
    lengths = [100, 1000, 10_000] if options.quick else [100, 1000, 10_000, 100_000]
    found = measure(3 if options.quick else options.rounds, lengths)
    show(found)
    write(found, options.json)


if __name__ == "__main__":
    main()
