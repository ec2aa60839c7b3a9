"""Reading a conversation, without I/O: the requests sent, and the records of each reply."""

from __future__ import annotations

import pytest

from chatstash.errors import ConnectionFailed, CorruptRecord, ReadOnlyToken
from chatstash.history.codec import RecordCodec, read_result
from chatstash.history.operations import read as reads
from chatstash.history.records.places import places_key
from chatstash.history.records.record import new_record_ids
from chatstash.history.values.options import Options
from chatstash.rest.commands import Batch, Effect
from tests.history.operations.replies import replied
from tests.rest.test_ops import play

RECORD = b'{"type":"human","data":{}}'


OTHER = b'{"type":"ai","data":{}}'


def _of_batch(number: int, text: str = "x") -> bytes:
    rid = new_record_ids(1, time_ms=number, randomness=b"x" * 6)[0]
    return f'{{"type":"human","data":{{"content":"{text}"}},"rid":"{rid}"}}'.encode()


def test_records_are_read_oldest_first() -> None:
    contents, asked = play(reads.read("k", Options()), [replied([OTHER, RECORD])])
    assert asked == [Batch((("LRANGE", "k", 0, -1),))]
    assert [entry.type for entry in contents.entries] == ["human", "ai"]
    assert (contents.length, contents.newest) == (2, [OTHER, RECORD])


def test_a_read_that_refreshes_the_ttl_may_be_retried() -> None:
    _, asked = play(reads.read("k", Options(ttl=60, refresh_ttl_on_read=True)), [replied([], 0)])
    assert asked == [Batch((("LRANGE", "k", 0, -1), ("EXPIRE", "k", 60)), effect=Effect.IDEMPOTENT)]


def test_the_position_of_a_corrupt_record_is_counted_from_the_oldest() -> None:
    contents, _ = play(reads.read("k", Options()), [replied([OTHER, b"bad", RECORD, RECORD])])
    with pytest.raises(CorruptRecord) as caught:
        read_result(contents, RecordCodec(), "k", "raise")
    assert (caught.value.key, caught.value.position, caught.value.raw) == ("k", 2, b"bad")


def test_a_duplicate_is_removed_and_the_conversation_read_again() -> None:
    duplicated = [_of_batch(1, "edited"), _of_batch(2), RECORD, RECORD, _of_batch(1)]
    replies = [replied(duplicated), replied([1, 5, b""]), replied(duplicated[1:])]
    contents, asked = play(reads.read("k", Options()), replies)
    assert [entry.raw for entry in contents.entries] == [_of_batch(1), RECORD, RECORD, _of_batch(2)]
    assert asked[1].effect is Effect.IDEMPOTENT
    assert asked[1].commands[0][2:5] == (2, "k", places_key("k"))


@pytest.mark.parametrize(("error", "level"), [(ConnectionFailed("x"), "WARNING"), (ReadOnlyToken("x"), "DEBUG")])
def test_a_duplicate_that_cannot_be_removed_is_hidden_and_logged(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "chatstash")
    replies = [replied([_of_batch(1), _of_batch(1)]), error, replied([0, 3, b""])]
    contents, _ = play(reads.read("k", Options()), replies)
    assert len(contents.entries) == 1
    assert [(entry.levelname, "'k'" in entry.getMessage()) for entry in caplog.records] == [(level, True)]
