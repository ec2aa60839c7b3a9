"""The threads of a database under one prefix: their settings, and what this process remembers of them."""

from __future__ import annotations

from dataclasses import field

from chatstash.frozen import dataclass
from chatstash.rest.limits import RetryPolicy
from chatstash.threads.index import Index
from chatstash.threads.known import KnownCheckpoints
from chatstash.threads.layout import ThreadKeys, thread_keys
from chatstash.threads.segments import Segment


@dataclass(frozen=True)
class Threads:
    """The threads of a database under one prefix.

    Attributes:
        prefix: What their keys begin with.
        ttl: Seconds until a thread expires after its last write; None for never.
        refresh_ttl_on_read: Whether reading a thread restarts the ttl.
        max_request_bytes: Maximum size of a request or reply, in bytes.
        retry_policy: How long requests may take, and how often they are retried.
        index: Lists the threads.
        known: The checkpoints that this process has read or written lately.
        segment: Names the fields that this process writes.
    """

    prefix: str
    ttl: int | None
    refresh_ttl_on_read: bool
    max_request_bytes: int
    retry_policy: RetryPolicy
    index: Index
    known: KnownCheckpoints = field(default_factory=KnownCheckpoints)
    segment: Segment = field(default_factory=Segment)

    def keys(self, thread_id: object) -> ThreadKeys:
        """Return the keys of a thread; raises ValueError for an invalid id."""
        return thread_keys(self.prefix, thread_id)

    @property
    def part_bytes(self) -> int:
        """How many bytes of a value one request may carry: half of a request, because JSON escapes text."""
        return self.max_request_bytes // 2
