"""What can be wrong with a connection or a reply, for the pool to turn into errors of this package. Pure.

Their texts are ours: nothing of what a server said is in them.
"""

from __future__ import annotations


class HttpFault(Exception):
    """An exchange that failed for a reason other than the operating system's.

    Attributes:
        lasting: Whether the same will probably happen again.
    """

    lasting = False


class Broken(HttpFault):
    """The connection ended before the whole reply was there."""


class BadReply(HttpFault):
    """The bytes are not one HTTP reply to one request."""

    lasting = True


class UnwantedReply(BadReply):
    """An HTTP reply that is refused for what its head says of the body."""


class Refused(HttpFault):
    """A proxy does not let the request through."""

    lasting = True
