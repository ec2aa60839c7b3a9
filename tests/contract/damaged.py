"""A damaged conversation, what should become of it, and reads past the code under test."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3

from chatstash import Store
from chatstash.history.doctor.diagnosis import Finding, Repair
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.tool_calls.formats import NO_RESULT
from chatstash.langchain.messages import why_unreadable
from chatstash.local import LocalUpstash
from tests.history.doctor.test_diagnosis import ai, human, raw, rid, tool

KEY = "message_store:s"
QUARANTINE = f"chatstash:quarantine:{hashlib.sha256(KEY.encode()).hexdigest()}"
HOUR_AGO = int(time.time() * 1000) - 3_700_000

DAMAGED = [
    human("hello", rid(1, time_ms=HOUR_AGO)),
    b"not json",
    human("same"),
    human("same"),
    b"\xff\x00\xfe binary",
    human("hello", rid(1, time_ms=HOUR_AGO)),
    raw("alien", {"content": "?"}),
    raw("human", {"content": None}),
    tool("nobody asked"),
    ai("a", "b", "c"),
    tool("b"),
    b"not json",
    human("again"),
    raw("system", {"content": "new"}, v=9),
    tool("b"),
    b"",
    ai("a", rid=rid(2, time_ms=HOUR_AGO)),
    tool("a"),
    ai("a", "b", rid=rid(3, time_ms=HOUR_AGO)),
    tool("b", rid=rid(4, time_ms=HOUR_AGO)),
]
MOVED = [1, 4, 5, 6, 7, 8, 11, 14, 15]
REPAIRS = 12

KEPT: list[Any] = [record for position, record in enumerate(DAMAGED) if position not in MOVED]
KEPT.insert(KEPT.index(tool("b")) + 1, {"a", "c"})
KEPT.append({"a"})


def request(upstash: LocalUpstash, body: Any, path: str = "", **headers: str) -> Any:
    sent = {"body": body} if isinstance(body, bytes) else {"json": body}
    headers |= {"authorization": f"Bearer {upstash.token}"}
    reply = urllib3.request("POST", upstash.url + path, headers=headers, retries=False, **sent).json()  # type: ignore[arg-type]
    assert "error" not in reply, reply
    return reply["result"]


def push(upstash: LocalUpstash, records: Sequence[bytes], key: str = KEY) -> None:
    for record in records:
        # As the body of a path, bytes need not be UTF-8; an empty body would be no argument.
        request(upstash, record, f"/lpush/{key}") if record else request(upstash, ["LPUSH", key, ""])


def stored(upstash: LocalUpstash, key: str = KEY) -> list[bytes]:
    """Return a list, oldest first."""
    values = request(upstash, ["LRANGE", key, 0, -1], **{"upstash-encoding": "base64"})
    return [base64.b64decode(value) for value in reversed(values)]


def quarantined(upstash: LocalUpstash) -> list[tuple[dict[str, Any], bytes]]:
    words = stored(upstash, QUARANTINE)[::-1]
    return [(json.loads(note), record) for note, record in zip(words[::2], words[1::2], strict=True)]


def assert_sound(upstash: LocalUpstash, before: Sequence[bytes]) -> None:
    """Nothing is lost or doubled, inserted results are in their places, and the doctor finds nothing to repair."""
    after, moved = stored(upstash), [record for _, record in quarantined(upstash)]
    assert Counter(record for record in after if NO_RESULT.encode() not in record) + Counter(moved) == Counter(before)
    assert _shape(after)[: len(KEPT)] == KEPT
    with a_doctor(upstash) as doctor:
        assert {finding.repair for finding in doctor.examine(KEY).findings} <= {Repair.NONE}


def _shape(records: Sequence[bytes]) -> list[bytes | set[str]]:
    """Return records with each run of inserted results as the set of the calls they answer."""
    shaped: list[bytes | set[str]] = []
    for record in records:
        if NO_RESULT.encode() not in record:
            shaped.append(record)
        elif shaped and isinstance(shaped[-1], set):
            shaped[-1].add(json.loads(record)["data"]["tool_call_id"])
        else:
            shaped.append({json.loads(record)["data"]["tool_call_id"]})
    return shaped


@contextmanager
def a_doctor(upstash: LocalUpstash, kind: Callable[..., Doctor] = Doctor, **options: Any) -> Iterator[Doctor]:
    doctor = kind(Store(upstash.url, upstash.token, **options), why_unreadable)
    try:
        yield doctor
    finally:
        doctor.close()


def fix(upstash: LocalUpstash, kind: Callable[..., Doctor] = Doctor, **options: Any) -> list[Finding]:
    done: list[Finding] = []
    with a_doctor(upstash, kind, **options) as doctor:
        doctor.repair(doctor.examine(KEY), done.append)
    return done


def result_block(call_id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "r"}
