"""Exceptions within this package; the pools turn them into errors of `chatstash.errors`. Pure.

Their messages hold nothing that a server said.
"""

from __future__ import annotations


class HttpFault(Exception):
    """An exchange failed for a reason that the operating system does not report."""

    lasting = False
    """Whether a retry will probably fail too."""


class Broken(HttpFault):
    """The connection ended before the reply was complete."""


class BadReply(HttpFault):
    """The bytes are not one HTTP reply to one request."""

    lasting = True


class UnwantedReply(BadReply):
    """The head of an HTTP reply announces a body that is too large or compressed."""


class TunnelRefused(HttpFault):
    """A proxy refused to open a tunnel."""

    lasting = True


FAILURES = (HttpFault, OSError, UnicodeError)
"""What an exchange may fail with; UnicodeError for host names that cannot be resolved."""
