"""JSON bodies: plain strings, base64 strings, and base64 that was requested and not sent."""

from __future__ import annotations

import base64

import orjson
import pytest

from chatstash.errors import Applied, ProtocolError, WrongType
from tests.rest.protocol.replying import GET, TRANSACTION, TWO, read, reply


@pytest.mark.parametrize(
    ("result", "value"),
    [("bar", b"bar"), (None, None), (7, 7), (1.5, b"1.5"), (["a", None, [1]], [b"a", None, [1]]), ("é", "é".encode())],
)
def test_plain_strings(result: object, value: object) -> None:
    assert read(GET, reply(orjson.dumps({"result": result}))) == (value,)


def test_base64() -> None:
    encoded = base64.b64encode(b"\xff\x00").decode()
    body = orjson.dumps({"result": [encoded, "OK", None, 3]})
    assert read(GET, reply(body), resp2=False) == ([b"\xff\x00", b"OK", None, 3],)


def test_base64_that_was_requested_and_not_sent() -> None:
    body = orjson.dumps({"result": ['{"type":"human"}', "OK"]})
    assert read(GET, reply(body), resp2=False) == ([b'{"type":"human"}', b"OK"],)


def test_a_failed_command_of_several_is_a_value() -> None:
    failure, value = read(TRANSACTION, reply(b'[{"error":"WRONGTYPE no"},{"result":1}]'))
    assert value == 1
    assert isinstance(failure, WrongType)
    assert (failure.server_text, failure.applied) == ("WRONGTYPE no", Applied.NO)


@pytest.mark.parametrize("body", [b'{"result":1}', b'{"result":1,"error":null}', b'{"result":1,"error":7}'])
def test_one_result_is_no_reply_to_two_commands(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="one reply for each command"):
        read(TWO, reply(body))
