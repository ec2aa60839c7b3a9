"""Every key and field name of threads, and why none can collide.

A thread has two keys. `{prefix}{thread id}:h` is a hash:

- `c!…`: one checkpoint, `w!…`: the writes of one task. The field is the member's name (below).
- `{segment}.{number}`: a group of elements, a part of a value that is too large for one request, or a page of tokens.
- `k{digest}`: says that a checkpoint exists. `v`: says that the thread exists.

`{prefix}{thread id}:z` is a sorted set that keeps the names in order, all with score 0:

- `{namespace}!{checkpoint id}!c!{parent id}`
- `{namespace}!{checkpoint id}!w!{task id}!{kind}`
- `%u!{user id}` and `%r!{run id}`: which other indexes name the thread. No escaped namespace begins so.

Other keys hold the indexes: `{prefix}:threads` and `{prefix}:expiring` list all threads, `{prefix}{user id}:u` and
`{prefix}{user id}:x` those of a user, `{prefix}{run id}:r` the checkpoints of a run.

The last characters of a key tell what it is, and everything before them is the prefix and one id. So no two ids share a
key, whatever characters they contain. Within a member, `!` and `%` of an id are escaped as in URLs. A segment is
base64url and contains neither `!` nor a full stop.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from chatstash.frozen import dataclass
from chatstash.rest.plan import MAX_KEY_BYTES, checked_size, utf8

VERSION_FIELD = "v"
AFTER = '"'
"""The character after `!`: `name + AFTER` is the end of the range of members that begin with `name!`."""


class Place(NamedTuple):
    """One checkpoint of a thread: its namespace and its id."""

    namespace: str
    checkpoint_id: str

    @property
    def prefix(self) -> str:
        """What the members of the checkpoint begin with, without the `!` that follows."""
        return f"{escaped(self.namespace)}!{escaped(self.checkpoint_id)}"

    @property
    def alive_field(self) -> str:
        """The field that says that the checkpoint exists."""
        return "k" + _digest(self.prefix)


class CheckpointName(NamedTuple):
    """The name of a stored checkpoint. An empty `parent_id` means no parent."""

    place: Place
    parent_id: str

    @property
    def member(self) -> str:
        """Its member of the sorted set, and its field of the hash."""
        return f"{self.place.prefix}!c!{escaped(self.parent_id)}"


class WritesName(NamedTuple):
    """The name of stored writes of one task.

    Attributes:
        place: The checkpoint.
        task_id: The task.
        kind: `n` and the number of the first write; or `s` and the number of a special write, which is negative.
    """

    place: Place
    task_id: str
    kind: str

    @property
    def member(self) -> str:
        """Its member of the sorted set, and its field of the hash."""
        return f"{self.place.prefix}!w!{escaped(self.task_id)}!{self.kind}"


def user_member(user_id: str) -> str:
    """Return the member that says that the index of a user names the thread."""
    return f"%u!{user_id}"


def run_member(run_id: str) -> str:
    """Return the member that says that the index of a run names the thread."""
    return f"%r!{run_id}"


def is_checkpoint_data(member: str) -> bool:
    """Tell whether a member names a checkpoint or writes, and not an index."""
    return not member.startswith(("%u!", "%r!"))


def parsed(member: str) -> CheckpointName | WritesName:
    """Return what a member names."""
    namespace, checkpoint_id, kind, *rest = member.split("!")
    place = Place(unescaped(namespace), unescaped(checkpoint_id))
    if kind == "c":
        return CheckpointName(place, unescaped(rest[0]))
    return WritesName(place, unescaped(rest[0]), rest[1])


@dataclass(frozen=True)
class ThreadKeys:
    """The keys of a thread."""

    prefix: str
    thread_id: str

    @property
    def data(self) -> str:
        """The hash."""
        return f"{self.prefix}{self.thread_id}:h"

    @property
    def names(self) -> str:
        """The sorted set."""
        return f"{self.prefix}{self.thread_id}:z"

    @property
    def both(self) -> tuple[str, str]:
        """Both keys, for scripts."""
        return self.data, self.names


def thread_keys(prefix: str, thread_id: object) -> ThreadKeys:
    """Return the keys of a thread; raises ValueError unless the id is a non-empty string that fits a key."""
    if not isinstance(thread_id, str) or not thread_id:
        raise ValueError(
            f"thread_id must be a non-empty string, not {thread_id!r:.80}: pass it in config['configurable']"
        )
    utf8(thread_id, "thread_id")
    keys = ThreadKeys(prefix, thread_id)
    checked_size(keys.names, "key_prefix and thread_id")
    return keys


def checked_text(name: str, text: object, *, most: int = 2 * MAX_KEY_BYTES) -> str:
    """Return an id; raises ValueError unless it is a string of at most `most` bytes that UTF-8 can encode."""
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a string, not {text!r:.80}")
    if (size := len(utf8(text, name))) > most:
        raise ValueError(f"the {name} has {size} bytes; the limit is {most}")
    return text


def escaped(name: str) -> str:
    """Return an id without the separator."""
    if "%" in name or "!" in name:
        return name.replace("%", "%25").replace("!", "%21")
    return name


def unescaped(name: str) -> str:
    """Return the id that `escaped` was given."""
    return name.replace("%21", "!").replace("%25", "%") if "%" in name else name


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=6).hexdigest()
