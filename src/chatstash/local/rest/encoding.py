"""The three encodings of a reply: plain JSON, JSON with base64 strings, and RESP2. Pure.

https://upstash.com/docs/redis/features/restapi#base64-encoded-responses
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import hiredis
import orjson

from chatstash.local.rest.command_rules import BadRequest


class Encoding(enum.Enum):
    """How a reply is encoded; the value is its content type."""

    JSON = "application/json"
    BASE64 = "application/json; base64"
    RESP2 = "application/octet-stream"

    @property
    def content_type(self) -> str:
        """The reply's Content-Type."""
        return self.value.partition(";")[0]


def encoding_of(headers: Mapping[bytes, bytes], *, transaction: bool) -> Encoding:
    """Return the encoding that a request asks for; raises BadRequest if it is not permitted."""
    if b"upstash-response-format" not in headers and b"upstash-encoding" not in headers:
        return Encoding.JSON
    wanted = headers.get(b"upstash-response-format", b"json").lower()
    in_base64 = headers.get(b"upstash-encoding", b"").lower() == b"base64"
    if wanted not in (b"json", b"resp2"):
        raise BadRequest("ERR Upstash-Response-Format must be json or resp2")
    if wanted == b"resp2" and in_base64:
        raise BadRequest("ERR Upstash-Encoding base64 is not permitted with Upstash-Response-Format resp2")
    # A transaction answers in JSON in any case.
    if wanted == b"resp2" and not transaction:
        return Encoding.RESP2
    return Encoding.BASE64 if in_base64 else Encoding.JSON


def single(reply: Any, encoding: Encoding) -> bytes:
    """Encode the reply to one command."""
    return resp2(reply) if encoding is Encoding.RESP2 else orjson.dumps(_entry(reply, encoding))


def batch(replies: Sequence[Any], encoding: Encoding) -> bytes:
    """Encode the replies to several commands."""
    if encoding is Encoding.RESP2:
        return b"".join(map(resp2, replies))
    return orjson.dumps([_entry(reply, encoding) for reply in replies])


def failure(text: str) -> bytes:
    """Encode an error of the whole request, which is JSON in any encoding."""
    return orjson.dumps({"error": text})


def size_of(reply: Any) -> int:
    """Return the total size of a reply's strings, in bytes."""
    if isinstance(reply, list):
        return sum(map(size_of, reply))
    return len(reply) if isinstance(reply, bytes) else 0


def _entry(reply: Any, encoding: Encoding) -> dict[str, Any]:
    if isinstance(reply, hiredis.ReplyError):
        return {"error": str(reply)}
    return {"result": _value(reply, encoding)}


def _value(reply: Any, encoding: Encoding) -> Any:
    if isinstance(reply, bytes):
        if encoding is Encoding.BASE64 and reply != b"OK":
            return base64.b64encode(reply).decode()
        return reply.decode(errors="replace")
    if isinstance(reply, list):
        return [_value(item, encoding) for item in reply]
    # A script can return an error within its reply.
    return str(reply) if isinstance(reply, hiredis.ReplyError) else reply


def resp2(reply: Any) -> bytes:
    """Encode one reply as RESP2."""
    if isinstance(reply, bytes):
        return b"+OK\r\n" if reply == b"OK" else b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, list):
        return b"*%d\r\n%b" % (len(reply), b"".join(map(resp2, reply)))
    return b"-%b\r\n" % " ".join(str(reply).split()).encode()
