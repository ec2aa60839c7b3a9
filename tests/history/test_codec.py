"""Codecs of adapters: whatever iterable they return is stored, and what they refuse is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from chatstash import Codec, CorruptRecord, Options, Record, Store
from chatstash.local import LocalUpstash


class Texts(Codec[str]):
    """The items are texts; its records come from a generator."""

    def to_records(self, items: Iterable[str]) -> Any:
        return (Record("human", {"content": item}) for item in items)

    def from_record(self, record: Record, *, key: str = "", position: int = 0) -> str:
        if record.type != "human":
            raise CorruptRecord("not a text", key=key, position=position, raw=record.raw)
        return str(record.data["content"])


def test_items_are_stored_and_read(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token, ttl=60) as store:
        session = store.session_with(Texts(), "s")
        session.append(["a"])
        with session.guarded_turn() as turn:
            turn.append(item for item in ["b", "c"])
            assert turn.items == ["a", "b", "c"]
        assert session.read(last=2).items == ["b", "c"]
        assert session.options.ttl == 60


def test_a_record_that_is_no_item_is_unreadable(upstash: LocalUpstash) -> None:
    with Store(upstash.url, upstash.token) as store:
        store.session("s").append([Record("human", {"content": "a"}), Record("ai", {"content": "b"})])
        session = store.session_with(Texts(), "s", on_corrupt="skip")
        assert session.read().items == ["a"]
        assert [record.type for record in session.records()] == ["human", "ai"]
        with pytest.raises(CorruptRecord) as caught:
            store.session_with(Texts(), "s").read()
        assert (caught.value.position, list(caught.value.messages)) == (1, ["a"])


@pytest.mark.parametrize(("codec", "options"), [(Texts, Options()), (Texts(), {"ttl": 5})])
def test_a_session_is_opened_with_a_codec_and_options(codec: Any, options: Any) -> None:
    with pytest.raises(ValueError, match="open_session takes a Codec and Options"):
        Store("https://h", "t").open_session(codec, "k", options)
