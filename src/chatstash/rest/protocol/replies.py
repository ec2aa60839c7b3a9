"""Reads the replies to a batch from an HTTP reply.

The content type of the reply decides how it is read, not the format requested: proxies that speak the same API may
ignore a header.
"""

from __future__ import annotations

from chatstash.errors import DatabaseError, ProtocolError
from chatstash.rest.commands import Batch, Reply
from chatstash.rest.http.exchange import HttpReply, HttpRequest
from chatstash.rest.protocol.bodies import Decoded, Failure, decode_json, decode_resp2
from chatstash.rest.protocol.refusals import not_the_api, refusal
from chatstash.rest.protocol.requests import SYNC_TOKEN_HEADER, FormRefused, may_be_sent_again
from chatstash.rest.secret import Secret
from chatstash.rest.sync_token import is_sync_token

_NO_TOKEN = Secret("")


def sync_token_of(reply: HttpReply) -> str | None:
    """Return the read-your-writes token of a reply; None without one that can be sent back."""
    token = reply.headers.get(SYNC_TOKEN_HEADER, "")
    return token if is_sync_token(token) else None


def replies_from(
    batch: Batch, request: HttpRequest, reply: HttpReply, *, token: Secret = _NO_TOKEN
) -> tuple[Reply, ...]:
    """Return the replies to a batch, one for each command. If one of several commands fails, its reply is the error.

    Raises:
        DatabaseError: The whole batch failed.
        FormRefused: The batch can be sent again, without a form that one of its commands had.
    """
    outcome = _outcome(batch, request, reply, token)
    # Raised here, where no local variable holds the server's text: it may repeat the token.
    if isinstance(outcome, DatabaseError):
        raise outcome
    return outcome


def _outcome(batch: Batch, request: HttpRequest, reply: HttpReply, token: Secret) -> tuple[Reply, ...] | DatabaseError:
    if 300 <= reply.status < 400:
        problem = f"The server redirects (status {reply.status}), and redirects are not followed"
        return ProtocolError(problem, status=reply.status)
    try:
        values = _decoded(len(batch.commands), request, reply)
    except (ValueError, RecursionError) as error:
        return not_the_api(reply, str(error), token)
    if isinstance(values, Failure):
        return refusal(values.text, reply, token)
    if reply.status != 200:
        return not_the_api(reply, "the status does not match the body", token)
    if Failure not in map(type, values):
        return values
    replies = tuple(refusal(value.text, reply, token) if isinstance(value, Failure) else value for value in values)
    refused = next((value for value in replies if isinstance(value, FormRefused)), None)
    return refused if refused is not None and may_be_sent_again(batch) else replies


def _decoded(count: int, request: HttpRequest, reply: HttpReply) -> Decoded:
    media_type = reply.headers.get("content-type", "")
    if media_type != "application/octet-stream":
        media_type = media_type.partition(";")[0].strip().lower()
    if media_type == "application/octet-stream":
        return decode_resp2(reply.body, count)
    return decode_json(reply.body, count, asked_base64="upstash-encoding" in request.headers)
