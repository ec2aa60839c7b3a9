"""Every key and field name of namespaces, and why none can collide.

`{prefix}{namespace}:n` is the hash of a namespace, with labels joined by full stops, which none contains:

- `v{key}`: an item. `c{key}`: when it was created, in microseconds since the epoch.

`{prefix}:namespaces` and `{prefix}:expiring` are the indexes: sorted sets, with score 0, of the namespaces that have
had items without a ttl, and with one. The last characters of a key tell which it is, and everything before them is the
prefix and one namespace.

The fields of an item with a ttl expire by themselves, and so does the second index. An empty hash is gone; the indexes
forget it when its last item is deleted, or when a search or a listing meets it.
"""

from __future__ import annotations

from typing import NamedTuple

from chatstash.rest.plan import checked_size, utf8

_AFTER = "/"
"""The character after the full stop."""


class Namespaces(NamedTuple):
    """The namespaces of a database under one prefix.

    Attributes:
        prefix: What their keys begin with.
        max_request_bytes: Maximum size of a request or reply, in bytes.
    """

    prefix: str
    max_request_bytes: int

    @property
    def indexes(self) -> tuple[str, str]:
        """The keys of the index of lasting namespaces, and of the index of those with a ttl."""
        return f"{self.prefix}:namespaces", f"{self.prefix}:expiring"

    def hash_of(self, namespace: str) -> str:
        """Return the key of a namespace; raises ValueError if it is too long or not UTF-8."""
        utf8(namespace, "namespace")
        return checked_size(f"{self.prefix}{namespace}:n", "key_prefix and namespace")


def namespace_of(labels: tuple[str, ...]) -> str:
    """Return the name of a namespace, given its labels, none of which contains a full stop."""
    return ".".join(labels)


def labels_of(namespace: str) -> tuple[str, ...]:
    """Return the labels of a namespace."""
    return tuple(namespace.split(".")) if namespace else ()


def range_below(namespace: str) -> tuple[str, str]:
    """Return start and end of the namespaces below one, as ZRANGE BYLEX takes them; all for the empty one."""
    return (f"[{namespace}.", f"({namespace}{_AFTER}") if namespace else ("-", "+")


def is_below(namespace: str, other: str) -> bool:
    """Tell whether a namespace is below another one; all are below the empty one."""
    return namespace.startswith(f"{other}.") if other else bool(namespace)


def value_field(key: str) -> str:
    """Return the field of an item."""
    return f"v{key}"


def created_field(key: str) -> str:
    """Return the field that says when an item was created."""
    return f"c{key}"
