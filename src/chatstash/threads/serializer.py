"""What threads need to know of the adapter's serialiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from chatstash.threads.groups import Dumped


class Serializer(Protocol):
    """Converts values to texts and back. A text has no line break."""

    def dump(self, value: Any) -> Dumped:
        """Return a serialised value, unencrypted. Equal values should be dumped equally."""

    def seal(self, dumped: Dumped) -> str:
        """Return the text to store, encrypted if the serialiser encrypts."""

    def unseal(self, text: str) -> Dumped:
        """Return the serialised value of a stored text."""

    def versions(self, body: str) -> Mapping[str, object]:
        """Return the versions of the channels in the stored body of a checkpoint."""
