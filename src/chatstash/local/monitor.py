"""What MONITOR says, without what is the gateway's own. Pure."""

from __future__ import annotations

_OWN_LINES = (b' "INFO" "commandstats"', b' "INFO" "replication"', b' "INFO" "memory"', b' "COMMAND" "GETKEYS"')


def monitored(line: bytes, number: int) -> bytes | None:
    """Return a line of MONITOR without where the gateway connects from.

    None for what the gateway itself asks, and for what is asked of another database than that of this number.
    """
    head, bracket, rest = line.partition(b"]")
    words = head.split(b" ")
    if rest.startswith(_OWN_LINES) or words[1:2] != [b"[%d" % number]:
        return None
    if len(words) == 3 and words[2] != b"lua":
        words[2] = b"0.0.0.0:0"
    return b" ".join(words) + bracket + rest
