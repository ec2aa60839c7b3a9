"""What a run of chaos is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chatstash.local import Fault
from tests.reliability.chaos import odds


@dataclass
class Setting:
    """What a run is like.

    Attributes:
        delivery: How appends are delivered.
        are_clocks_wrong: Whether writers' clocks differ.
        replayed: Which requests a proxy repeats.
        late: Seconds by which some requests are late, besides the short and the held ones.
        kept_held: How many of the newest held requests stay held until the end.
    """

    delivery: Literal["standard", "strict"] = "standard"
    are_clocks_wrong: bool = True
    replayed: tuple[Fault, ...] = ()
    late: float = 0.0
    kept_held: int = 10

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults."""
        return (*odds.FAULTS, *odds.HELD, *self.replayed, *(odds.late(self.late) if self.late else ()))
