"""No secret is in the log, the trace or the control endpoint, wherever a client puts it and however it writes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from chatstash.cli.request_printer import print_request
from chatstash.local import LocalUpstash
from chatstash.local.stats.masking import Masker
from tests.local.client import Client

SECRET = 'Tok3n+With/Slash="quote'
WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "in a url": lambda secret: quote(secret, safe=""),
    "in a url, every byte": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "in json": lambda secret: json.dumps(secret)[1:-1],
    "hexadecimal": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 of more": lambda secret: base64.b64encode(f"u:{secret}:x".encode()).decode(),
    "base64 of yet more": lambda secret: base64.b64encode(f"x{secret}!".encode()).decode(),
    "base64 for urls": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}
WHERE: dict[str, Callable[[str], list[Any]]] = {
    "the name": lambda secret: [secret],
    "a long name": lambda secret: ["x" * 50 + secret],
    "AUTH": lambda secret: ["AUTH", secret],
    "auth": lambda secret: ["auth", "default", secret],
    "a key": lambda secret: ["GET", secret],
    "within a key": lambda secret: ["GET", f"before:{secret}:after"],
    "where a key is cut off": lambda secret: ["GET", "x" * 190 + secret],
    "a subcommand": lambda secret: ["OBJECT", secret, "k"],
    "another argument": lambda secret: ["SET", "k", secret],
    "an option": lambda secret: ["SET", "k", "v", secret],
    "an error of a script": lambda secret: ["EVAL", "return redis.error_reply(ARGV[1])", 0, secret],
}


@pytest.fixture(scope="module")
def running() -> Iterator[LocalUpstash]:
    with LocalUpstash(token=SECRET, control_port=0) as upstash:
        yield upstash


@pytest.fixture
def server(running: LocalUpstash) -> LocalUpstash:
    running.reset()
    return running


@pytest.mark.parametrize(
    ("where", "written"),
    [
        *((where, "as it is") for where in WHERE),
        *(("within a key", written) for written in [*WRITTEN][1:]),
    ],
)
def test_a_secret_is_not_shown(server: LocalUpstash, where: str, written: str) -> None:
    """No eight characters in a row of the token, in this form, are in what is shown."""
    secret = WRITTEN[written](SECRET)
    client = Client(server)
    for path, body in (("/", WHERE[where](secret)), ("/pipeline", [WHERE[where](secret)])):
        client.ask(path, body)
    client.pool.request("GET", f"{server.url}/get/{quote(secret, safe='')}?_token={quote(SECRET, safe='')}")
    shown = shown_by(server)
    part = secret[2:-3] if "base64" in written else secret
    assert "***" in shown
    assert [part[at : at + 8] for at in range(len(part) - 7) if part[at : at + 8].lower() in shown.lower()] == []


def shown_by(upstash: LocalUpstash) -> str:
    """Return all that the server shows of its requests."""
    console = Console(width=10_000)
    with console.capture() as trace:
        for entry in upstash.log:
            print_request(console, entry)
    url = f"{upstash.control_url}/log?_token={quote(SECRET, safe='')}"
    return trace.get() + "".join(map(str, upstash.log)) + urllib3.request("GET", url, retries=False).data.decode()


def test_what_is_held_shows_no_secret(server: LocalUpstash) -> None:
    server.faults.next("applied_late", held=True)
    with pytest.raises(urllib3.exceptions.HTTPError):
        Client(server).ask("/", ["GET", SECRET])
    assert server.held == [("GET ***",)]


def test_a_read_only_token_and_a_password_are_secrets_too() -> None:
    mask = Masker(["", "reader-token", "short"])
    assert mask("GET reader-token; GET x:READER-TOKEN") == "GET ***; GET x:***"
    # A short one is left out as a word, and not as a part of one.
    assert mask("GET short shorts short:1 'short'") == "GET *** shorts ***:1 '***'"
    assert mask("unknown subcommand 'reader-to'") == "unknown subcommand '***'"
    assert mask("GET reader-t:1") == "GET reader-t:1"
    assert Masker([])("GET k") == "GET k"


@given(st.text(), st.text(st.characters(exclude_characters="*"), min_size=8, max_size=30), st.text())
def test_whatever_is_around_it(before: str, secret: str, after: str) -> None:
    shown = Masker([secret])(before + secret + after)
    assert secret not in shown or secret in before + after
