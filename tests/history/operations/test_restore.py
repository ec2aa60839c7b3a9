"""Restoring, without I/O: the bytes that are sent, and what refusals mean."""

from __future__ import annotations

import pytest

from chatstash.errors import ConversationExists, UnstorableMessage
from chatstash.history.operations.contents import entries_of
from chatstash.history.operations.restore import prepared_to_restore, restore
from chatstash.history.records.record import Record, RecordId
from chatstash.history.values.options import Options
from tests.history.operations.replies import replied
from tests.rest.test_ops import play

RID = RecordId("AAAAAAPoAAAAAAAA", 0, 1)
SPACED = b'{"type": "human", "data": {}}'


def test_stored_bytes_go_before_fields() -> None:
    entries = [*entries_of([SPACED, b"damaged"], "k"), Record("ai", {}, RID)]
    ready = prepared_to_restore("k", entries, Options(max_stored_messages=2))
    assert ready.texts == [SPACED.decode(), "damaged", f'{{"type":"ai","data":{{}},"rid":"{RID}"}}']
    assert (ready.options.max_stored_messages, ready.is_hex) == (None, False)
    assert ready.marker is not None
    assert RID not in ready.record_ids


def test_what_is_not_utf_8_goes_in_hexadecimal() -> None:
    ready = prepared_to_restore("k", entries_of([b"\xff", SPACED], "k"), Options())
    assert (ready.texts, ready.is_hex) == (["ff", SPACED.hex()], True)


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(UnstorableMessage, match=r"Message 1: it is a str") as caught:
        prepared_to_restore("k", [Record("ai", {}), "text"], Options())  # type: ignore[list-item]
    assert caught.value.index == 1


def test_its_own_marker_means_that_it_was_applied() -> None:
    ready = prepared_to_restore("k", [Record("ai", {}, RID)], Options())
    assert ready.marker is not None
    held = ready.marker.value.encode()
    result, _ = play(restore(ready, [RID]), [replied([0, 1, 3, held])])
    assert (result.length, result.record_ids) == (1, [RID])
    with pytest.raises(ConversationExists) as caught:
        play(restore(ready, [RID]), [replied([0, 7, 3, [1]])])
    assert caught.value.key == "k"
