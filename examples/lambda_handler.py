"""An AWS Lambda function behind an API Gateway HTTP API (payload format 2.0): a chat with a list of conversations.

The API's routes, all with the same JWT authorizer and this function as their integration:

    GET    /sessions                   the user's conversations, newest activity first; ?cursor= for the next page
    GET    /sessions/{id}              the newest messages of one; ?before= for the page further back
    POST   /sessions/{id}/messages     {"text": "…"} → {"answer": "…"}
    DELETE /sessions/{id}
    DELETE /me                         all that is stored of the user

Variables: UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN. Packages: chatstash, and your model's.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import ConfigurableFieldSpec

from chatstash import ChatstashError, Store, UpstashRedisChatMessageHistory, with_history

Event = dict[str, Any]
MONTH = 30 * 86_400
log = logging.getLogger(__name__)

# Outside the handler: warm invocations reuse its connections. No request is made here.
store = Store(ttl=MONTH, timeout=5)
model = FakeListChatModel(responses=["Paris."])  # Yours, such as init_chat_model("anthropic:claude-sonnet-4-5").


def history_of(user_id: str, session_id: str) -> UpstashRedisChatMessageHistory:
    """Return one conversation of a user. The user's id is part of the key: no session id reaches another user's."""
    return UpstashRedisChatMessageHistory(session_id, user_id=user_id, store=store)


chat = with_history(
    model,
    history_of,
    history_factory_config=[ConfigurableFieldSpec(id=name, annotation=str) for name in ("user_id", "session_id")],
)


def handler(event: Event, context: object) -> Event:
    """Answer one request."""
    route = ROUTES.get(event["routeKey"])
    if route is None:
        return reply(404, {"error": "no such route"})
    try:
        return route(event)
    except ChatstashError:  # its text may name keys: that is for the log
        log.exception("a request failed")
        return reply(503, {"error": "try again"})
    except ValueError as error:  # a bad cursor, session id or body
        return reply(400, {"error": str(error)})


def list_sessions(event: Event) -> Event:
    """One request to the database, however many conversations the user has."""
    page = store.list_sessions(user_id=user_of(event), limit=20, cursor=query(event, "cursor"))
    return reply(200, {"sessions": [each.to_dict() for each in page.sessions], "next_cursor": page.next_cursor})


def read_messages(event: Event) -> Event:
    history = history_of(user_of(event), session_of(event))
    before = query(event, "before")
    result = history.read(last=50) if before is None else history.read(before=before, limit=50)
    messages = [{"role": message.type, "text": message.content} for message in result.messages]
    return reply(200, {"messages": messages, "cursor": None if result.cursor is None else str(result.cursor)})


def send_message(event: Event) -> Event:
    """Answer a message. A request that is sent again is answered and stored once, and gets the same answer."""
    text = body_of(event).get("text")
    if not isinstance(text, str) or not text:
        raise ValueError("the body needs a text")
    config = {"user_id": user_of(event), "session_id": session_of(event), "idempotency_key": request_id(event)}
    answer = chat.invoke(text, {"configurable": config})
    return reply(200, {"answer": answer.content})


def delete_session(event: Event) -> Event:
    store.delete_session(session_of(event), user_id=user_of(event))
    return reply(204)


def delete_me(event: Event) -> Event:
    """Looks at every key of the database: where there are millions, put the user on a queue instead."""
    erased = store.delete_user(user_of(event))
    return reply(200, {"sessions": len(erased.session_ids)})


ROUTES: dict[str, Callable[[Event], Event]] = {
    "GET /sessions": list_sessions,
    "GET /sessions/{id}": read_messages,
    "POST /sessions/{id}/messages": send_message,
    "DELETE /sessions/{id}": delete_session,
    "DELETE /me": delete_me,
}


def user_of(event: Event) -> str:
    """Return the user whom API Gateway's authorizer has checked; never take it from what the client may choose."""
    subject: str = event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"]
    return subject


def session_of(event: Event) -> str:
    session_id: str = event["pathParameters"]["id"]
    return session_id


def request_id(event: Event) -> str:
    """Return the id that the client gave its request, and gives again when it retries; else API Gateway's."""
    given: str | None = event["headers"].get("idempotency-key")
    return given or event["requestContext"]["requestId"]


def query(event: Event, name: str) -> str | None:
    parameters: dict[str, str] = event.get("queryStringParameters") or {}
    return parameters.get(name)


def body_of(event: Event) -> dict[str, Any]:
    body = event.get("body") or "{}"
    value = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")
    return value


def reply(status: int, body: Event | None = None) -> Event:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": "" if body is None else json.dumps(body)}
