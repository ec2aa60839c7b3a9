"""Whatever guards an append, its request is within the size that is reckoned for it."""

from __future__ import annotations

import itertools

import orjson
import pytest

from chatstash.history.operations import append as appends
from chatstash.history.operations.contents import Contents
from chatstash.history.records import sizes
from chatstash.history.records.record import new_record_ids
from chatstash.history.values.options import Options
from chatstash.rest.commands import Batch
from chatstash.rest.ops import Op
from chatstash.rest.plan import MAX_KEY_BYTES

RIDS = new_record_ids(1, time_ms=0, randomness=bytes(6))
STRICT = [{}, {"delivery": "strict"}, {"max_stored_messages": 10**6}]


def wanted(key: str, options: Options, idempotency_key: str | None) -> appends.Append:
    digest = "" if idempotency_key is None else "f" * 64
    return appends.Append(key, ["x"], RIDS, options, idempotency_key, digest)


def first_batch(op: Op[object]) -> Batch:
    batch = next(op)
    op.close()
    return batch


@pytest.mark.parametrize("key", ["k", "\x01" * MAX_KEY_BYTES], ids=["short key", "long key"])
def test_the_largest_script_and_its_keys_have_room(key: str) -> None:
    for more, ttl, name in itertools.product(STRICT, (None, 10**9), (None, "event")):
        options = Options(ttl=ttl, **more)  # type: ignore[arg-type]
        append = wanted(key, options, name)
        read = Contents([], 10**6, [b"x" * 100])
        for op in (appends.append(append), appends.append_unless_changed(append, read)):
            batch = first_batch(op)
            for sent in (batch, batch.settlement() if batch.settlement else batch):
                assert len(orjson.dumps(sent.commands)) <= sizes.largest_request(key, append.texts)
