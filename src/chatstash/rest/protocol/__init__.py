"""Upstash's REST protocol: batches become HTTP requests, and HTTP replies become values or errors. Pure.

The rules: https://upstash.com/docs/redis/features/restapi
"""

from chatstash.rest.protocol.replies import replies_from, sync_token_of
from chatstash.rest.protocol.requests import FormRefused, Forms, ScriptMissing, request_for, sent_commands

__all__ = ["FormRefused", "Forms", "ScriptMissing", "replies_from", "request_for", "sent_commands", "sync_token_of"]
