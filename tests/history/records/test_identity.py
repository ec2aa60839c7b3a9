"""A record's identity: the same in Python and in the real engine, for records made to deceive."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatstash.history.records.decoding import decode
from chatstash.history.records.encoding import encode
from chatstash.history.records.identity import has_id, identity
from chatstash.history.records.record import Record, RecordId
from chatstash.history.scripts.loading import SCRIPTS
from chatstash.local import LocalUpstash
from chatstash.rest.commands import Batch, Command, Effect
from chatstash.rest.database import Database
from chatstash.rest.endpoint import resolve_endpoint
from chatstash.rest.limits import Budget
from chatstash.rest.ops import Op, send

RID = "AZNx3k0Qp7Zb1c2d.0/2"
ID = f'"rid":"{RID}"'
SCRIPT = SCRIPTS.composed("""#!lua flags=allow-key-locking
--- @include "identity"
local found = {}
for at, raw in ipairs(ARGV) do found[at] = identity(raw) end
return found
""")


@pytest.fixture
def engine(upstash: LocalUpstash) -> Iterator[Database]:
    database = Database(resolve_endpoint(upstash.url, upstash.token))
    yield database
    database.close()


def _by_script(database: Database, raws: list[str]) -> list[bytes]:
    """Return the identities that the engine gives, in one request."""

    def ask() -> Op[list[bytes]]:
        command: Command = ("EVAL", SCRIPT, 0, *raws)
        replies = yield from send(Batch((command,), effect=Effect.READ))
        return replies.values[0]  # type: ignore[return-value]

    return database.run("test", ask(), "", Budget(timeout=10, retries=0))


HAVE_ID = {
    "as written": f'{{"type":"human","data":{{"content":"x"}},{ID}}}',
    "with a generation": f'{{"type":"human","data":{{"content":"x"}},{ID},"g":12}}',
    "with the largest generation": f'{{"type":"human","data":{{}},{ID},"g":999999999}}',
    "stand-in": f'{{"type":"tool","data":{{"content":"x"}},{ID},"stand_in":true}}',
    "stand-in with a generation": f'{{"type":"tool","data":{{}},{ID},"stand_in":true,"g":3}}',
    "another id before it": f'{{"type":"human","rid":"BBBBBBBBBBBBBBBB.0/1","data":{{}},{ID}}}',
    "zero byte in its text": f'{{"type":"human","data":{{"content":"\0"}},{ID}}}',
}

HAVE_NONE = {
    "nothing": "",
    "an id alone": RID,
    "cut off at its beginning": f'n","data":{{"content":"x"}},{ID}}}',
    "cut off at its end": f'{{"type":"human","data":{{}},{ID}',
    "of another library": '{"type":"human","data":{"content":"x"}}',
    "in additional_kwargs": f'{{"type":"human","data":{{"additional_kwargs":{{"a":1,{ID}}}}}}}',
    "at the end of data": f'{{"type":"human","data":{{"content":"x",{ID}}}}}',
    "escaped at the end of a text": json.dumps({"type": "human", "data": {"content": f"x,{ID}}}"}}),
    "escaped at the end of a top-level text": json.dumps({"type": "human", "x": f",{ID}}}"}, separators=(",", ":")),
    "within a name": f'{{"type":"human","data":{{}},"x,\\"rid":"{RID}"}}',
    "first of the fields": f'{{{ID}}}',
    "a further field after it": f'{{"type":"human","data":{{}},{ID},"mine":1}}',
    "a generation alone": '{"type":"human","data":{},"g":3}',
    "a generation before it": f'{{"type":"human","data":{{}},"g":3,{ID},"g":3,"g":4}}',
    "a generation that is a text": f'{{"type":"human","data":{{}},{ID},"g":"3"}}',
    "a generation that is negative": f'{{"type":"human","data":{{}},{ID},"g":-3}}',
    "a generation that is too long": f'{{"type":"human","data":{{}},{ID},"g":1234567890}}',
    "a generation of a thousand digits": f'{{"type":"human","data":{{}},{ID},"g":{"1" * 1000}}}',
    "a stand-in that is none": f'{{"type":"human","data":{{}},{ID},"stand_in":false}}',
    "in the wrong order": f'{{"type":"human","data":{{}},{ID},"g":1,"stand_in":true}}',
    "with spaces": json.dumps({"type": "human", "data": {}, "rid": RID}),
    "a line after it": f'{{"type":"human","data":{{}},{ID}}}\n',
    "a batch too short": '{"type":"human","data":{},"rid":"AAAAAAAAAAAAAAA.0/1"}',
    "a batch too long": '{"type":"human","data":{},"rid":"AAAAAAAAAAAAAAAAA.0/1"}',
    "a position too long": '{"type":"human","data":{},"rid":"AAAAAAAAAAAAAAAA.1234567890/1"}',
    "digits that are not ASCII": '{"type":"human","data":{},"rid":"AAAAAAAAAAAAAAAA.٣/1"}',
    "letters that are not ASCII": '{"type":"human","data":{},"rid":"éAAAAAAAAAAAAAAA.0/1"}',
}  # fmt: skip


@pytest.mark.parametrize("name", HAVE_ID)
def test_the_id_that_the_library_wrote_is_the_identity(engine: Database, name: str) -> None:
    assert identity(HAVE_ID[name].encode()) == RID.encode()
    assert has_id(HAVE_ID[name].encode())
    assert _by_script(engine, [HAVE_ID[name]]) == [RID.encode()]


@pytest.mark.parametrize("name", HAVE_NONE)
def test_an_id_anywhere_else_is_none(engine: Database, name: str) -> None:
    raw = HAVE_NONE[name].encode()
    assert identity(raw) == raw
    assert not has_id(raw)
    assert _by_script(engine, [HAVE_NONE[name]]) == [raw]


_PIECES = st.sampled_from(
    ["{", "}", '{"type":"human"', ",", '"', "\\", ID, f",{ID}", f",{ID}}}", ',"stand_in":true', ',"g":', "0", "1234567",
     "99", RID, "\0", "é", "x", '"rid":"', "A" * 15, "AZNx3k0Qp7Zb1c2d", ".0/1", "\n"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_PIECES, max_size=9).map("".join) | st.text(max_size=9), min_size=1, max_size=30))
def test_python_and_the_engine_agree(engine: Database, raws: list[str]) -> None:
    raws = [raw.encode("utf-8", "ignore").decode() for raw in raws]
    assert _by_script(engine, raws) == [identity(raw.encode()) for raw in raws]


_DATA = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.just(f",{ID}}}"), max_size=3)
_RIDS = st.builds(RecordId, st.just("AZNx3k0Qp7Zb1c2d"), st.integers(0, 10**9 - 1), st.integers(1, 10**9 - 1))


_OTHER = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name != "v") | st.sampled_from(["stand_in", "g", "rid", "type", "data"]),
    st.booleans() | st.integers(0, 10**9) | st.text(max_size=5) | _DATA,
    max_size=4,
)


@given(_DATA, _RIDS, _OTHER)
def test_whatever_is_written_has_its_id(data: dict[str, str], rid: RecordId, other: dict[str, object]) -> None:
    raw = encode(Record("human", data, rid, other)).encode()
    assert identity(raw) == str(rid).encode()
    assert decode(raw).id == rid


@given(_DATA, st.dictionaries(st.text(max_size=5), _DATA | st.just(RID), max_size=3))
def test_what_has_an_identity_reads_as_that_id(data: dict[str, str], other: dict[str, object]) -> None:
    raw = json.dumps({"type": "human", "data": data, **other}, separators=(",", ":")).encode()
    if has_id(raw):
        assert str(decode(raw).id).encode() == identity(raw)
