"""Where a batch goes, and in which form."""

from __future__ import annotations

import orjson
import pytest

from chatstash.rest.commands import KEY_LOCKING, READING, Batch
from chatstash.rest.protocol import Forms, request_for, with_scripts_as_known
from tests.rest.protocol.replying import GET, TRANSACTION, TWO


@pytest.mark.parametrize(
    ("batch", "path", "body"),
    [
        (GET, "/", ["GET", "k"]),
        (TWO, "/pipeline", [["GET", "k"], ["INCR", "n"]]),
        (TRANSACTION, "/multi-exec", [["LPUSH", "k", "v"], ["EXPIRE", "k", 60]]),
        (Batch((("GET", "k"),), atomic=True), "/", ["GET", "k"]),
    ],
)
def test_where_a_batch_goes(batch: Batch, path: str, body: object) -> None:
    request = request_for(batch)
    assert request.path == path
    assert orjson.loads(request.body) == body


def test_resp2_is_requested_where_the_api_knows_it() -> None:
    for batch in (GET, TWO):
        assert request_for(batch).headers["upstash-response-format"] == "resp2"
        assert "upstash-encoding" not in request_for(batch).headers
    for request in (request_for(TRANSACTION), request_for(GET, forms=Forms(resp2=False))):
        assert request.headers["upstash-encoding"] == "base64"
        assert "upstash-response-format" not in request.headers


def test_the_sync_token_goes_with_the_request() -> None:
    assert request_for(GET, sync_token="abc").headers["upstash-sync-token"] == "abc"
    assert "upstash-sync-token" not in request_for(GET).headers


@pytest.mark.parametrize("flags", [KEY_LOCKING, READING])
@pytest.mark.parametrize("name", ["EVAL", "EVAL_RO"])
def test_script_flags_are_left_out_if_the_server_does_not_know_them(name: str, flags: str) -> None:
    batch = Batch(((name, f"{flags}return 1", 0),))
    assert with_scripts_as_known(batch, Forms(), None) == batch
    assert with_scripts_as_known(batch, Forms(script_flags=False), None).commands == ((name, "return 1", 0),)
