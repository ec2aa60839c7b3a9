"""The stored form of checkpoints and of writes. Pure.

A checkpoint is one field of three lines: a JSON header, the checkpoint without its values, its metadata. The last two
and all values are texts that the adapter's serialiser makes: the name of a format and base64, without a line break. The
writes of a task are a JSON array.

Forms are numbered. A header of a form that this version does not know raises `UnsupportedCheckpoint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from chatstash.errors import CorruptCheckpoint, UnsupportedCheckpoint
from chatstash.threads.index import Noted

FORM = 1


class ChannelEntry(NamedTuple):
    """A channel in a header: how its groups are joined (`groups.Split.kind`), a note of the adapter, and tokens."""

    kind: str
    note: str
    tokens: tuple[str, ...]


class Header(NamedTuple):
    """What a header says.

    Attributes:
        channels: The channels that have a value.
        delta_channels: The channels whose value is made from the writes of earlier checkpoints.
        stored_bytes: About how many bytes the thread had stored when the checkpoint was written.
        noted: When the thread was last noted in the indexes.
    """

    channels: Mapping[str, ChannelEntry]
    delta_channels: tuple[str, ...] = ()
    stored_bytes: int = 0
    noted: Noted | None = None


class CheckpointText(NamedTuple):
    """The three lines of a checkpoint."""

    header: Header
    body: str
    metadata: str

    def dumped(self) -> str:
        """Return the field's value."""
        header = self.header
        channels = [[name, entry.kind + entry.note, *entry.tokens] for name, entry in header.channels.items()]
        stored: dict[str, object] = {"f": FORM, "c": channels, "s": header.stored_bytes}
        if header.delta_channels:
            stored["d"] = header.delta_channels
        if header.noted is not None:
            at, user_id = header.noted
            stored["t"] = [at] if user_id is None else [at, user_id]
        return f"{orjson.dumps(stored).decode()}\n{self.body}\n{self.metadata}"


def loaded_checkpoint(text: bytes, name: str) -> CheckpointText:
    """Return a stored checkpoint; `name` is what errors call it.

    Raises:
        UnsupportedCheckpoint: A newer version of chatstash wrote it.
        CorruptCheckpoint: It is damaged.
    """
    try:
        first, body, metadata = text.decode().split("\n")
        stored = orjson.loads(first)
        form = stored["f"]
        if form == FORM:
            return CheckpointText(_header_of(stored), body, metadata)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CorruptCheckpoint(name, f"its header cannot be read ({type(error).__name__})") from None
    raise UnsupportedCheckpoint(name, form)


def _header_of(stored: dict[str, Any]) -> Header:
    channels = {name: ChannelEntry(kind[0], kind[1:], tuple(tokens)) for name, kind, *tokens in stored["c"]}
    noted = Noted(*stored["t"]) if "t" in stored else None
    return Header(channels, tuple(stored.get("d", ())), stored["s"], noted)


class WriteText(NamedTuple):
    """One write of a task: its number, its channel, and its value as a text."""

    number: int
    channel: str
    text: str


class WritesText(NamedTuple):
    """The writes that one call stores for one task."""

    task_path: str
    writes: tuple[WriteText, ...]

    def dumped(self) -> str:
        """Return the field's value."""
        return orjson.dumps([FORM, self.task_path, *map(tuple, self.writes)]).decode()


def loaded_writes(text: bytes, name: str) -> WritesText:
    """Return stored writes; raises as `loaded_checkpoint` does."""
    try:
        form, path, *writes = orjson.loads(text)
        if form == FORM:
            return WritesText(path, tuple(_writes_of(writes)))
    except (ValueError, TypeError) as error:
        raise CorruptCheckpoint(name, f"its writes cannot be read ({type(error).__name__})") from None
    raise UnsupportedCheckpoint(name, form)


def _writes_of(writes: list[list[object]]) -> Iterator[WriteText]:
    for number, channel, text in writes:
        yield WriteText(int(str(number)), str(channel), str(text))
