"""What MONITOR says, without what is the gateway's own. Pure."""

from __future__ import annotations

_OWN_LINES = (b' "INFO" "commandstats"', b' "INFO" "replication"', b' "INFO" "memory"', b' "COMMAND" "GETKEYS"')


def monitored(line: bytes) -> bytes | None:
    """Return a line of MONITOR without where the gateway connects from; None for what the gateway itself asks."""
    head, bracket, rest = line.partition(b"]")
    if rest.startswith(_OWN_LINES):
        return None
    words = head.split(b" ")
    if len(words) == 3 and words[2] != b"lua":
        words[2] = b"0.0.0.0:0"
    return b" ".join(words) + bracket + rest
