"""Deletes keys, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chatstash.history.steps.replies import checked_reply
from chatstash.rest.commands import Batch, Cost, Effect
from chatstash.rest.ops import Op, send


class Deleted(NamedTuple):
    """How many keys were deleted, and the cost of that."""

    keys: int
    cost: Cost = Cost()


def delete_keys(keys: Sequence[str]) -> Op[Deleted]:
    """Delete keys; one request, one command."""
    if not keys:
        return Deleted(0)
    replies = yield from send(Batch((("DEL", *keys),), effect=Effect.IDEMPOTENT))
    return Deleted(checked_reply(int, replies.values[0], Effect.IDEMPOTENT))
