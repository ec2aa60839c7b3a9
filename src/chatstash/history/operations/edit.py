"""Edits a conversation: replaces and removes messages, each edit in one atomic step and once.

Records are found by their ids, not by their places, so that an edit is right beside concurrent appends. Every edit
counts up the generation, so that caches notice.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from chatstash.errors import MessageNotFound
from chatstash.history.records.encoding import encode
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key
from chatstash.history.records.message_id import Named
from chatstash.history.records.places import places_key
from chatstash.history.records.record import Record
from chatstash.history.scripts.loading import call
from chatstash.history.steps.duplicates import remove_duplicates
from chatstash.history.steps.replies import checked_counts, checked_reply
from chatstash.history.steps.requests import run_marked_script
from chatstash.history.values.results import EditResult
from chatstash.rest.commands import Argument, Effect, Reply
from chatstash.rest.ops import Op


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
    marker = companion_key("edit", key, name)
    keys = (key, marker, places_key(key))
    answer = yield from run_marked_script(key, marker, call("edit_pop", keys, IN_FLIGHT_TTL, count, ""))
    if answer[0] == 0:
        # Among them may be duplicates, which no reader sees.
        yield from remove_duplicates(key, _batches(answer[3]))
        answer = yield from run_marked_script(key, marker, call("edit_pop", keys, IN_FLIGHT_TTL, count, "1"))
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
