"""Reads ChatGPT's data export."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from langchain_core.messages import BaseMessage

from chatstash.history.records.record import RANDOM_BYTES, Record, RecordId, new_record_ids
from chatstash.langchain.messages import to_records
from chatstash.transfer.chatgpt.files import ExportPath, read_files
from chatstash.transfer.chatgpt.messages import Conversion, TimedMessage, milliseconds
from chatstash.transfer.chatgpt.tree import current_branch
from chatstash.transfer.report import ImportProblem, Skipped


@dataclass(frozen=True)
class ChatGPTConversation:
    """A conversation of ChatGPT's data export.

    Attributes:
        id: Its id; None for a file or an entry that cannot be read, whose `errors` say why.
        title: Its title, or None.
        created_at: When it began, in milliseconds since the epoch; None if the export does not tell.
        updated_at: When it was last used, likewise.
        messages: The messages of its current branch, oldest first, with ChatGPT's ids.
        times: When each was written, in milliseconds since the epoch; None if the export does not tell.
        skipped: What could not be represented, and why.
        errors: What could not be read.
        file: The file that it comes from.
    """

    id: str | None
    title: str | None = None
    created_at: int | None = None
    updated_at: int | None = None
    messages: list[BaseMessage] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    errors: list[ImportProblem] = field(default_factory=list)
    file: str = ""

    def records(self) -> list[Record]:
        """Return its messages as records; one whose time is known has an id, the same in each reading of the export."""
        records = to_records(self.messages)
        return [
            Record(record.type, record.data, _record_id(f"{self.id}/{place}/{message.id}", time))
            for place, (record, message, time) in enumerate(zip(records, self.messages, self.times, strict=True))
        ]


def _record_id(name: str, time_ms: int | None) -> RecordId | None:
    if time_ms is None:
        return None
    randomness = sha256(name.encode("utf-8", "replace")).digest()[:RANDOM_BYTES]
    return new_record_ids(1, time_ms=time_ms, randomness=randomness)[0]


def read_chatgpt_export(path: ExportPath) -> Iterator[ChatGPTConversation]:
    """Yield the conversations of ChatGPT's data export, with the messages of the branch that the user saw last.

    Tool calls and their results become such messages. Images, audio and video are only named in the text. Hidden
    messages, reasoning and the messages of other branches are left out. Everything that is left out is in the
    conversation's `skipped`, with the reason; a file or an entry that cannot be read, in `errors`. Keeps one file of
    the export in memory at a time.

    Args:
        path: The zip as ChatGPT offers it, the folder of its files, or one `conversations.json`.

    Raises:
        ValueError: It is no such export.
        OSError: It cannot be read.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ValueError(f"path must be the path of a zip, a folder or a file, not {path!r:.80}")
    for file in read_files(path):
        if file.conversations is None:
            yield ChatGPTConversation(None, errors=[ImportProblem(file.problem, file=file.name)], file=file.name)
            continue
        while file.conversations:
            yield _conversation(file.conversations.pop(), file.name)


async def aread_chatgpt_export(path: ExportPath) -> AsyncIterator[ChatGPTConversation]:
    """Yield conversations as `read_chatgpt_export` does, without blocking the event loop: a thread reads the files."""
    source = ChatGPTSource(path)
    try:
        while (conversation := await source.anext_conversation()) is not None:
            yield conversation
    finally:
        source.close()


class ChatGPTSource:
    """The conversations of an export, one by one, in both colours."""

    def __init__(self, path: ExportPath) -> None:
        self._conversations = read_chatgpt_export(path)

    def next_conversation(self) -> ChatGPTConversation | None:
        """Return the next conversation; None after the last."""
        return next(self._conversations, None)

    async def anext_conversation(self) -> ChatGPTConversation | None:
        """Return the next conversation as `next_conversation` does, read in a thread."""
        return await asyncio.to_thread(self.next_conversation)

    def close(self) -> None:
        """Close the files; if a thread still reads, they are closed when it ends."""
        with suppress(ValueError):
            self._conversations.close()  # type: ignore[attr-defined] # it is a generator


def _conversation(found: Any, file: str) -> ChatGPTConversation:
    if not isinstance(found, dict):
        problem = f"an entry is a JSON {type(found).__name__}, not a conversation"
        return ChatGPTConversation(None, errors=[ImportProblem(problem, file=file)], file=file)
    name = _text(found.get("conversation_id")) or _text(found.get("id"))
    title = _text(found.get("title"))
    if name is None:
        problem = f"a conversation has no id; its title is {title!r:.80}"
        return ChatGPTConversation(None, title, errors=[ImportProblem(problem, file=file)], file=file)
    messages, skipped = _read(found, name)
    created, updated = milliseconds(found.get("create_time")), milliseconds(found.get("update_time"))
    return ChatGPTConversation(
        name, title, created, updated, [each.message for each in messages], [each.time_ms for each in messages],
        skipped, file=file,
    )  # fmt: skip


def _read(found: dict[str, Any], name: str) -> tuple[list[TimedMessage], list[Skipped]]:
    branch = current_branch(found)
    if branch is None:
        return [], [Skipped(name, "it has no messages")]
    conversion = Conversion(branch.nodes, _text(found.get("default_model_slug")))
    skipped = [Skipped(name, reason, node_id) for node_id, reason in conversion.notes]
    if branch.elsewhere:
        skipped.append(Skipped(name, f"messages on other branches: {branch.elsewhere}"))
    if branch.is_cut:
        skipped.append(Skipped(name, "the messages before the first are missing in the export"))
    if not conversion.messages:
        skipped.append(Skipped(name, "it has no messages that can be represented"))
    return conversion.messages, skipped


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
