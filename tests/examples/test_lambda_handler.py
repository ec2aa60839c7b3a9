"""The Lambda function of the examples, called with events as API Gateway makes them."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from chatstash.local import LocalUpstash
from tests.examples.conftest import EXAMPLES


@pytest.fixture
def function(upstash_environment: LocalUpstash, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "lambda_handler", raising=False)
    module = importlib.import_module("lambda_handler")
    with module.store:
        yield module


@pytest.fixture
def send(function: ModuleType) -> Callable[..., Any]:
    """Send a request as a user; returns the decoded body of the answer, which must have the status."""

    def send(
        route: str, session: str | None = None, *, user: str = "ada", status: int = 200, body: Any = None, **more: Any
    ) -> Any:
        event = {**event_of(route, session, user), **more}
        if body is not None:
            event["body"] = json.dumps(body)
        # What AWS does with both: JSON.
        answer = json.loads(json.dumps(function.handler(json.loads(json.dumps(event)), None)))
        assert answer["statusCode"] == status, answer
        return json.loads(answer["body"] or "null")

    return send


def event_of(route: str, session: str | None, user: str, request_id: str = "JKJaXmPLvHcESHA=") -> dict[str, Any]:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html"""
    method, path = route.split()
    path = path.replace("{id}", session or "")
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": "Bearer …"},
        "requestContext": {
            "authorizer": {"jwt": {"claims": {"sub": user, "iss": "https://login.example"}, "scopes": None}},
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.9"},
            "requestId": request_id,
            "routeKey": route,
            "stage": "$default",
            "timeEpoch": 1_790_000_000_000,
        },
        **({} if session is None else {"pathParameters": {"id": session}}),
        "isBase64Encoded": False,
    }


SEND, READ = "POST /sessions/{id}/messages", "GET /sessions/{id}"


def test_a_message_is_answered_stored_and_listed(send: Callable[..., Any]) -> None:
    assert send(SEND, "geo", body={"text": "Capital of France?"}) == {"answer": "Paris."}
    assert send(READ, "geo") == {
        "messages": [{"role": "human", "text": "Capital of France?"}, {"role": "ai", "text": "Paris."}],
        "cursor": None,
    }
    (listed,) = send("GET /sessions")["sessions"]
    assert (listed["session_id"], listed["title"]) == ("geo", "Capital of France?")


def test_a_request_that_is_sent_again_is_answered_once(send: Callable[..., Any]) -> None:
    body = {"text": "Capital of France?"}
    headers = {"idempotency-key": "click-1"}
    first = send(SEND, "geo", body=body, headers=headers)
    assert send(SEND, "geo", body=body, headers=headers) == first
    assert len(send(READ, "geo")["messages"]) == 2
    send(SEND, "geo", body=body, headers={"idempotency-key": "click-2"})
    assert len(send(READ, "geo")["messages"]) == 4


def test_an_event_that_is_delivered_twice_is_answered_once(send: Callable[..., Any]) -> None:
    for _ in range(2):
        send(SEND, "geo", body={"text": "Capital of France?"})
    assert len(send(READ, "geo")["messages"]) == 2


def test_a_body_in_base64(send: Callable[..., Any]) -> None:
    body = base64.b64encode(json.dumps({"text": "Grüße"}).encode()).decode()
    event = {"body": body, "isBase64Encoded": True}
    assert send(SEND, "geo", **event) == {"answer": "Paris."}
    assert send(READ, "geo")["messages"][0]["text"] == "Grüße"


def test_pages_of_the_list(send: Callable[..., Any], function: ModuleType) -> None:
    for number in range(22):
        function.history_of("ada", f"s{number:02}").add_user_message(f"Q{number}")
    first = send("GET /sessions")
    second = send("GET /sessions", queryStringParameters={"cursor": first["next_cursor"]})
    shown = [each["title"] for each in first["sessions"] + second["sessions"]]
    assert shown == [f"Q{number}" for number in reversed(range(22))]


def test_users_do_not_meet(send: Callable[..., Any]) -> None:
    send(SEND, "same", body={"text": "Ada's"})
    send(SEND, "same", user="bob", body={"text": "Bob's"})
    send("DELETE /sessions/{id}", "same", user="bob", status=204)
    assert send("GET /sessions", user="bob")["sessions"] == []
    assert [each["text"] for each in send(READ, "same")["messages"]] == ["Ada's", "Paris."]


def test_delete_me_leaves_nothing(send: Callable[..., Any], run: Callable[..., Any]) -> None:
    send(SEND, "one", body={"text": "1"})
    send(SEND, "two", body={"text": "2"}, headers={"idempotency-key": "click-2"})
    assert send("DELETE /me") == {"sessions": 2}
    assert run("KEYS", "*") == []


@pytest.mark.parametrize(
    ("route", "more"),
    [
        ("GET /sessions", {"queryStringParameters": {"cursor": "nonsense"}}),
        (READ, {"queryStringParameters": {"before": "nonsense"}}),
        (SEND, {"body": {}}),
        (SEND, {"body": ["text"]}),
        (SEND, {"body": {"text": 7}}),
    ],
)
def test_a_bad_request_is_the_clients(send: Callable[..., Any], route: str, more: Any) -> None:
    assert send(route, "geo", status=400, **more)["error"]


def test_no_such_route(send: Callable[..., Any]) -> None:
    send("PUT /sessions/{id}", "geo", status=404)


def test_a_database_that_is_gone_is_503(send: Callable[..., Any], upstash: LocalUpstash) -> None:
    upstash.stop()
    assert send("GET /sessions", status=503) == {"error": "try again"}
