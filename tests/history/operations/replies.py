"""What the tests of operations share: replies of the database, and an append."""

from __future__ import annotations

from typing import Any

from chatstash.errors import Applied, RequestTimeout
from chatstash.history.operations import append as appends
from chatstash.history.records.record import new_record_ids
from chatstash.history.values.options import Options
from chatstash.rest.commands import Batch, Cost, Replies
from chatstash.rest.limits import Budget

COST = Cost(1, 1, 20, 20)


def lost() -> RequestTimeout:
    return RequestTimeout("lost", applied=Applied.UNKNOWN)


def replied(*values: object) -> Replies:
    return Replies(values, COST)  # type: ignore[arg-type]


def prepared(texts: list[str], ttl: int | None = None, **more: Any) -> appends.Append:
    ids = new_record_ids(len(texts), time_ms=1, randomness=b"x" * 6)
    return appends.Append("k", texts, ids, Options(ttl=ttl), **more)


def settlement_of(batch: Batch) -> Batch:
    assert batch.settlement is not None
    return batch.settlement()


NO_RETRY = Budget(retries=0)
