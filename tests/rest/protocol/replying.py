"""Batches and HTTP replies, for the tests of the protocol."""

from __future__ import annotations

from typing import Any

from chatstash.rest.commands import Batch, Effect
from chatstash.rest.http.exchange import HttpReply
from chatstash.rest.protocol import Forms, replies_from, request_for

RESP2 = "application/octet-stream"
GET = Batch((("GET", "k"),))
TWO = Batch((("GET", "k"), ("INCR", "n")))
TRANSACTION = Batch((("LPUSH", "k", "v"), ("EXPIRE", "k", 60)), atomic=True, effect=Effect.WRITE)


def reply(body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> HttpReply:
    return HttpReply(status, {"content-type": content_type, **headers}, body)


def read(batch: Batch, answer: HttpReply, *, resp2: bool = True) -> Any:
    return replies_from(batch, request_for(batch, forms=Forms(resp2=resp2)), answer)
