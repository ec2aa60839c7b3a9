"""Errors of threads and namespaces: checkpoints and items that cannot be stored or read."""

from __future__ import annotations

from chatstash.errors.base import ChatstashError, ChatstashWarning, one_line

__all__ = [
    "CorruptCheckpoint",
    "CorruptItem",
    "LargeThreadWarning",
    "ThreadInUse",
    "TypeNotAllowed",
    "UnreadableCheckpoint",
    "UnreadableItem",
    "UnstorableValue",
    "UnsupportedCheckpoint",
    "UnsupportedItem",
]


class UnreadableCheckpoint(ChatstashError):
    """A stored checkpoint cannot be read. Nothing was changed; it is still stored.

    Attributes:
        checkpoint: Its namespace and id, as they are stored.
    """

    def __init__(self, checkpoint: str, reason: object = "") -> None:
        super().__init__(checkpoint, reason)
        self.checkpoint = checkpoint
        self.reason = reason


class CorruptCheckpoint(UnreadableCheckpoint, ValueError):
    """A stored checkpoint is damaged, or a part of it is missing. Nothing was changed."""

    def __str__(self) -> str:
        return one_line(
            f"Cannot read the checkpoint {self.checkpoint!r}: {self.reason}. It is still stored. Pass the id of an "
            "earlier checkpoint in the config to go on from there, or delete the thread."
        )


class UnsupportedCheckpoint(UnreadableCheckpoint):
    """A newer version of chatstash wrote a stored checkpoint. Nothing was changed."""

    def __str__(self) -> str:
        return one_line(
            f"Cannot read the checkpoint {self.checkpoint!r}: this version of chatstash does not know the form "
            f"{self.reason!r:.40}. It is still stored. Upgrade chatstash: a newer version wrote it."
        )


class UnreadableItem(ChatstashError):
    """A stored item of a namespace cannot be read. Nothing was changed; it is still stored.

    Attributes:
        namespace: Its namespace, the labels joined by full stops.
        key: Its key.
    """

    def __init__(self, namespace: str, key: str, reason: object = "") -> None:
        super().__init__(namespace, key, reason)
        self.namespace = namespace
        self.key = key
        self.reason = reason


class CorruptItem(UnreadableItem, ValueError):
    """A stored item is damaged. Nothing was changed."""

    def __str__(self) -> str:
        return one_line(
            f"Cannot read the item {self.key!r} of the namespace {self.namespace!r}: {self.reason}. It is still "
            "stored. Put it again, or delete it."
        )


class UnsupportedItem(UnreadableItem):
    """A newer version of chatstash wrote a stored item. Nothing was changed."""

    def __str__(self) -> str:
        return one_line(
            f"Cannot read the item {self.key!r} of the namespace {self.namespace!r}: this version of chatstash does "
            f"not know the form {self.reason!r:.40}. It is still stored. Upgrade chatstash: a newer version wrote it."
        )


class TypeNotAllowed(ChatstashError, TypeError):
    """A stored value has a type that may not be loaded. Nothing was changed; it is still stored.

    Loading a type calls it with stored data, so only types that are known to be harmless are loaded by default.

    Attributes:
        types: The types, each as `(module, name)`.
    """

    def __init__(self, types: tuple[tuple[str, str], ...]) -> None:
        super().__init__(types)
        self.types = types

    def __str__(self) -> str:
        names = ", ".join(f"{module}.{name}" for module, name in self.types)
        return one_line(
            f"The stored state holds values of types that may not be loaded: {names}. They are still stored. If you "
            f"trust them, pass allowed_types={list(self.types)!r} (or the classes themselves) to the saver."
        )


class ThreadInUse(ChatstashError):
    """A conversation cannot be imported into a thread that is in use. Nothing was changed.

    Attributes:
        thread_id: The thread.
        missing: How many messages of the conversation the thread does not have.
        reason: Why they cannot be added.
    """

    def __init__(self, thread_id: str, missing: int, reason: str) -> None:
        super().__init__(thread_id, missing, reason)
        self.thread_id = thread_id
        self.missing = missing
        self.reason = reason

    def __str__(self) -> str:
        noun = "message" if self.missing == 1 else "messages"
        return one_line(
            f"The thread {self.thread_id!r} lacks {self.missing} {noun} of the conversation, but {self.reason}. "
            "Nothing was changed."
        )


class UnstorableValue(ChatstashError, TypeError):
    """A value cannot be serialised. Nothing was sent.

    Attributes:
        where: The channel or field that holds it.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return one_line(
            f"The value of {self.where!r} cannot be stored: {self.reason}. Nothing was sent. Keep such objects out of "
            "what is stored, or turn them into plain values."
        )


class LargeThreadWarning(ChatstashWarning):
    """A thread has stored so much that it may soon exceed the maximum size of a record, 100 MB on most plans.

    Attributes:
        thread_id: The thread.
        stored_bytes: About how many bytes were stored since it began, or was copied.
    """

    def __init__(self, thread_id: str, stored_bytes: int) -> None:
        super().__init__(thread_id, stored_bytes)
        self.thread_id = thread_id
        self.stored_bytes = stored_bytes

    def __str__(self) -> str:
        return one_line(
            f"The thread {self.thread_id!r} has stored about {self.stored_bytes // 10**6} MB. A record may have 100 MB "
            "on most plans; then writes are refused. Remove old checkpoints with prune(), or begin a new thread."
        )
