"""Conversations written by an earlier version are read equal.

`fixtures/earlier.json` has, for each conversation, the keys as commit b84dfc4 stored them and what that version read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import urllib3
from langchain_core.messages import BaseMessage, message_to_dict

from chatstash import Cursor, Outcome, Record, UpstashRedisChatMessageHistory
from chatstash.local import LocalUpstash

_LONG = "x" * 60_000  # Two of these do not fit into one request of 100 KB, which was the limit.
_FIXTURE = Path(__file__).with_name("fixtures") / "earlier.json"
CONVERSATIONS: dict[str, Any] = json.loads(_FIXTURE.read_text().replace("{60000 times x}", _LONG))


@pytest.mark.parametrize("session_id", CONVERSATIONS)
def test_what_an_earlier_version_wrote_is_read_equal(upstash: LocalUpstash, session_id: str) -> None:
    expected = CONVERSATIONS[session_id]
    _store(upstash, expected["keys"])
    history = UpstashRedisChatMessageHistory(session_id, upstash.url, upstash.token, on_corrupt="skip")
    assert [_fields(record) for record in history.records()] == expected["records"]
    assert list(map(_dumped, history.messages)) == list(map(_without_version_fields, expected["messages"]))
    assert _contents(history.read(last=50, tool_calls="answered").messages) == expected["answered"]
    if "cursor" in expected:
        page = history.read(before=Cursor.parse(expected["cursor"]), limit=3)
        assert [_contents(page.messages), page.cursor and str(page.cursor)] == expected["page"]
    for key, count in expected.get("idempotency_keys", {}).items():
        assert history.check_outcome(key, in_flight_seconds=0) is Outcome.STORED
        assert len(history.stored_for(key) or []) == count


def _fields(record: Record) -> list[Any]:
    return [record.type, record.data, record.id and str(record.id), dict(record.other), record.time_ms]


def _dumped(message: BaseMessage) -> dict[str, Any]:
    return _without_version_fields(message_to_dict(message))


def _without_version_fields(message: dict[str, Any]) -> dict[str, Any]:
    # langchain-core 0.3 has `example` and 1.0 `chunk_position`; each lacks the other.
    data = {name: value for name, value in message["data"].items() if name not in ("example", "chunk_position")}
    return {**message, "data": data}


def _contents(messages: Sequence[BaseMessage]) -> list[list[Any]]:
    return [[message.type, message.content] for message in messages]


def _store(upstash: LocalUpstash, keys: dict[str, str | list[str]]) -> None:
    for key, value in keys.items():
        if isinstance(value, str):
            _send(upstash, f"set/{key}", value)
        for raw in reversed(value if isinstance(value, list) else []):
            _send(upstash, f"lpush/{key}", raw)


def _send(upstash: LocalUpstash, path: str, value: str) -> None:
    # As the body of a path, bytes need not be UTF-8.
    body = value.encode("utf-8", "surrogateescape")
    headers = {"authorization": f"Bearer {upstash.token}"}
    reply = urllib3.request("POST", f"{upstash.url}/{path}", body=body, headers=headers)
    assert reply.status == 200, reply.data
