"""Converts the values of checkpoints to the texts that threads store, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from chatstash.errors import UnstorableValue
from chatstash.langgraph.strict_types import loaded_strictly
from chatstash.threads.groups import Dumped, Split, joined, split

_SNAPSHOT = "s"
"""The note of a value that is a snapshot of a delta channel."""


class Serialization:
    """LangGraph's serialiser as threads use it.

    Each text is the name of the format, a colon, and base64. An encrypting serialiser is taken apart: a value is the
    same if its plain bytes are, because the encrypted ones never are.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde
        self._plain = serde.serde if isinstance(serde, EncryptedSerializer) else serde
        self._cipher = serde.cipher if isinstance(serde, EncryptedSerializer) else None

    def dump(self, value: Any) -> Dumped:
        """Return a serialised value, unencrypted."""
        return Dumped(*self._plain.dumps_typed(value))

    def seal(self, dumped: Dumped) -> str:
        """Return the text to store."""
        if self._cipher is None:
            return _text(dumped)
        name, data = self._cipher.encrypt(dumped.data)
        return _text(Dumped(f"{dumped.format}+{name}", data))

    def unseal(self, text: str) -> Dumped:
        """Return the serialised value of a stored text."""
        stored = _dumped(text)
        if self._cipher is None or "+" not in stored.format:
            return stored
        name, cipher = stored.format.split("+", 1)
        return Dumped(name, self._cipher.decrypt(cipher, stored.data))

    def versions(self, body: str) -> Mapping[str, object]:
        """Return the versions of the channels in the stored body of a checkpoint."""
        versions: Mapping[str, object] = self.load(body)["channel_versions"]
        return versions

    def load(self, text: str) -> Any:
        """Return the value of a stored text; raises TypeNotAllowed."""
        dumped = self.unseal(text)
        return loaded_strictly(lambda: self._plain.loads_typed(tuple(dumped)))  # type: ignore[arg-type]

    def text_of(self, value: Any, where: str) -> str:
        """Return the text of a value; raises UnstorableValue, which names `where` it is."""
        return self.seal(_stored(lambda: self.dump(value), where))

    def split(self, value: Any, channel: str) -> tuple[str, Split]:
        """Return the note and the groups of a channel's value; raises UnstorableValue."""
        if isinstance(value, _DeltaSnapshot):
            return _SNAPSHOT, _stored(lambda: split(value.value, self.dump), channel)
        return "", _stored(lambda: split(value, self.dump), channel)

    def joined(self, kind: str, note: str, texts: Sequence[str]) -> Any:
        """Return the value of stored groups."""
        value = joined(kind, [self.load(text) for text in texts])
        return _DeltaSnapshot(value) if note == _SNAPSHOT else value


def _stored(dump: Any, where: str) -> Any:
    try:
        return dump()
    except (TypeError, ValueError, RecursionError, OverflowError, AttributeError) as error:
        raise UnstorableValue(where, str(error) or type(error).__name__) from error


def _text(dumped: Dumped) -> str:
    return f"{dumped.format}:{base64.b64encode(dumped.data).decode()}"


def _dumped(text: str) -> Dumped:
    name, _, data = text.partition(":")
    return Dumped(name, base64.b64decode(data))
