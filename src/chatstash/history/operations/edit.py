"""Edits a conversation: replaces and removes messages, each edit in one atomic step and once.

Records are found by their ids, not by their places, so that an edit is right beside concurrent appends. Every edit
counts up the generation, so that caches notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import orjson

from chatstash.errors import MessageNotFound
from chatstash.history.records.encoding import encode
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.records.record import Record, RecordId
from chatstash.history.scripts.loading import call
from chatstash.history.steps.duplicates import remove_duplicates
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_marked_script
from chatstash.history.values.results import EditResult
from chatstash.rest.commands import Argument, Effect, Reply
from chatstash.rest.ops import Op
from chatstash.rest.plan import utf8

MessageId: TypeAlias = str | RecordId | Record


class Named(NamedTuple):
    """What names a record.

    Attributes:
        by: How scripts find it: `r`, by its id; `m`, by the id that a framework gave the message; `b`, by its bytes.
        text: The id or the bytes.
        id: What the caller gave.
    """

    by: str
    text: str
    id: str | RecordId | None

    @property
    def words(self) -> tuple[str, str]:
        """The arguments of a script."""
        return self.by, self.text


def named(message_id: MessageId) -> Named:
    """Return what names a record, or raise ValueError."""
    if isinstance(message_id, Record):
        return _of_record(message_id)
    if isinstance(message_id, RecordId):
        return Named("r", str(message_id), message_id)
    if not isinstance(message_id, str) or not message_id:
        raise ValueError(f"a message is named by a record id, its own id, or a Record, not by {message_id!r:.80}")
    return Named("m" if RecordId.parse(message_id) is None else "r", utf8(message_id, "id").decode(), message_id)


def _of_record(record: Record) -> Named:
    if record.id is not None:
        return Named("r", str(record.id), record.id)
    if not record.raw:
        raise ValueError("this record was not read from a conversation: pass a record that `records()` returned")
    try:
        return Named("b", record.raw.decode(), None)
    except UnicodeDecodeError:
        raise ValueError("a record that is not UTF-8 cannot be named in a request: run `chatstash doctor`") from None


def replace_message(key: str, name: str, old: Named, new: Record) -> Op[EditResult]:
    """Replace a message; `name` is unique to this call."""
    whole = encode(Record(new.type, new.data, None, new.other))
    begin = encode(Record(new.type, new.data))[:-2]
    other, names = whole[len(begin) + 1 : -1], orjson.dumps(["type", "data", *new.other]).decode()
    words = (*old.words, begin, other, names, "" if new.data.get("id") else "1")
    return (yield from _edited(key, name, "edit_replace", [old], *words))


def delete_messages(key: str, name: str, messages: Sequence[Named]) -> Op[EditResult]:
    """Remove messages, all or none; `name` is unique to this call."""
    words = [word for message in messages for word in message.words]
    return (yield from _edited(key, name, "edit_delete", messages, *words))


def truncate(key: str, name: str, last: Named) -> Op[EditResult]:
    """Remove all messages newer than one; `name` is unique to this call."""
    return (yield from _edited(key, name, "edit_truncate", [last], *last.words))


def pop(key: str, name: str, count: int) -> Op[EditResult]:
    """Remove the newest messages; `name` is unique to this call."""
    answer = yield from _run(key, name, "edit_pop", count, "")
    if answer[0] == 0:
        # Among them may be duplicates, which no reader sees.
        yield from remove_duplicates(key, _batches(answer[3]))
        answer = yield from _run(key, name, "edit_pop", count, "1")
    return _result(answer)


def _batches(reply: Reply) -> list[str]:
    batches = checked_reply(list, reply, Effect.WRITE)
    return list(dict.fromkeys(checked_reply(bytes, batch, Effect.WRITE).decode() for batch in batches))


def _edited(key: str, name: str, script: str, messages: Sequence[Named], *arguments: Argument) -> Op[EditResult]:
    answer = yield from _run(key, name, script, *arguments)
    made, _, at = checked_counts(answer, 3, Effect.WRITE)
    if not made:
        raise MessageNotFound(messages[at - 1].id, key)
    return _result(answer)


def _run(key: str, name: str, script: str, *arguments: Argument) -> Op[list[Reply]]:
    marker = companion_key("edit", key, name)
    return (yield from run_marked_script(key, marker, call(script, (key, marker), IN_FLIGHT_TTL, *arguments)))


def _result(answer: Sequence[Reply]) -> EditResult:
    _, _, removed, length = checked_counts(answer, 4, Effect.WRITE)
    return EditResult(removed, length)
