"""The generation of a record."""

from __future__ import annotations

from chatstash.history.records.generation import has_generation, without_generation

RECORD = b'{"type":"human","data":{"content":"x"},"rid":"AaDEUGwAYWJjZGVm.0/1"}'
FOREIGN = b'{"type":"human","data":{"content":"\\"g\\":1"}}'


def test_a_record_with_an_id_can_have_a_generation() -> None:
    counted = RECORD[:-1] + b',"g":12}'
    assert (has_generation(RECORD), has_generation(counted)) == (False, True)
    assert without_generation(counted) == without_generation(RECORD) == RECORD


def test_no_other_bytes_have_a_generation() -> None:
    for other in (b"", b"{}", FOREIGN, b'"g"', FOREIGN + b"\n"):
        assert without_generation(other) == other
        assert not has_generation(other)
