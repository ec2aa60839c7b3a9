"""Converts the values of checkpoints to the texts that threads store, and back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from chatstash.errors import CorruptCheckpoint, UnstorableValue
from chatstash.langgraph.compression import compressed, decompressed
from chatstash.langgraph.strict_types import loaded_strictly
from chatstash.threads.groups import Dumped, Split, joined, split
from chatstash.threads.header import ChannelEntry

T = TypeVar("T")

_SNAPSHOT = "s"
"""The note of a value that is a snapshot of a delta channel."""


class Serialization:
    """LangGraph's serialiser as threads use it.

    Each text is the name of the format, `:` or, if it is compressed, `~`, and base64. An encrypting serialiser is taken
    apart: a value is the same if its plain bytes are, because the encrypted ones never are.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self._plain = serde.serde if isinstance(serde, EncryptedSerializer) else serde
        self._cipher = serde.cipher if isinstance(serde, EncryptedSerializer) else None

    def dump(self, value: Any) -> Dumped:
        """Return a serialised value, unencrypted."""
        return Dumped(*self._plain.dumps_typed(value))

    def seal(self, dumped: Dumped) -> str:
        """Return the text to store."""
        if self._cipher is None:
            return _compressed_text(dumped)
        name, data = self._cipher.encrypt(dumped.data)
        return _text(Dumped(f"{dumped.format}+{name}", data))

    def unseal(self, text: str) -> Dumped:
        """Return the serialised value of a stored text."""
        stored = _dumped(text)
        if self._cipher is None or "+" not in stored.format:
            return stored
        name, cipher = stored.format.split("+", 1)
        return Dumped(name, self._cipher.decrypt(cipher, stored.data))

    def load(self, text: str, name: str = "") -> Any:
        """Return the value of a stored text.

        Args:
            text: The text.
            name: What errors call the checkpoint.

        Raises:
            TypeNotAllowed: The value has a type that may not be loaded.
            CorruptCheckpoint: The text is damaged, or encrypted with another key.
        """
        return _readable(lambda: self._loaded(self.unseal(text)), name)

    def dumped(
        self, refs: Sequence[str], texts: Mapping[str, str], found: dict[str, Dumped], name: str
    ) -> list[Dumped]:
        """Return the serialised values of references; `found` holds those that were made before.

        Raises:
            CorruptCheckpoint: A text is damaged, or encrypted with another key.
        """
        missing = [ref for ref in refs if ref not in found]
        found.update(_readable(lambda: {ref: self.unseal(texts[ref]) for ref in missing}, name))
        return [found[ref] for ref in refs]

    def text_of(self, value: Any, where: str) -> str:
        """Return the text of a value; raises UnstorableValue, which names `where` it is."""
        return self.seal(_stored(lambda: self.dump(value), where))

    def split(self, value: Any, channel: str) -> tuple[str, Split]:
        """Return the note and the groups of a channel's value; raises UnstorableValue."""
        if isinstance(value, _DeltaSnapshot):
            return _SNAPSHOT, _stored(lambda: split(value.value, self.dump), channel)
        return "", _stored(lambda: split(value, self.dump), channel)

    def joined(self, entry: ChannelEntry, groups: Sequence[Dumped], name: str) -> Any:
        """Return the value of a channel's groups; raises as `load` does."""
        value = joined(entry.kind, _readable(lambda: [self._loaded(group) for group in groups], name))
        return _DeltaSnapshot(value) if entry.note == _SNAPSHOT else value

    def _loaded(self, dumped: Dumped) -> Any:
        return self._plain.loads_typed((dumped.format, dumped.data))


def _readable(load: Callable[[], T], name: str) -> T:
    try:
        return loaded_strictly(load)
    except (ValueError, EOFError) as error:
        raise CorruptCheckpoint(name, f"a value cannot be read ({error})") from error


def _stored(dump: Any, where: str) -> Any:
    try:
        return dump()
    except (TypeError, ValueError, RecursionError, OverflowError, AttributeError) as error:
        raise UnstorableValue(where, str(error) or type(error).__name__) from error


def _compressed_text(dumped: Dumped) -> str:
    small = compressed(dumped.data) if dumped.data else b""
    if len(small) < len(dumped.data):
        return f"{dumped.format}~{base64.b64encode(small).decode()}"
    return _text(dumped)


def _text(dumped: Dumped) -> str:
    return f"{dumped.format}:{base64.b64encode(dumped.data).decode()}"


def _dumped(text: str) -> Dumped:
    # The name of a format may contain anything; base64 contains neither mark.
    at = max(text.rfind(":"), text.rfind("~"))
    data = base64.b64decode(text[at + 1 :], validate=True)
    return Dumped(text[:at], decompressed(data) if text[at] == "~" else data)
