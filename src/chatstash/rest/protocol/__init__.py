"""Upstash's REST protocol: batches become HTTP requests, and HTTP replies become values or errors. Pure.

The rules: https://upstash.com/docs/redis/features/restapi
"""

from chatstash.rest.protocol.replies import replies_from, sync_token_of
from chatstash.rest.protocol.requests import (
    DigestRefused,
    FormRefused,
    Forms,
    ScriptMissing,
    request_for,
    with_scripts_as_known,
)

__all__ = [
    "DigestRefused",
    "FormRefused",
    "Forms",
    "ScriptMissing",
    "replies_from",
    "request_for",
    "sync_token_of",
    "with_scripts_as_known",
]
