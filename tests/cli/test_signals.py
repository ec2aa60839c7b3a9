"""Signals that ask the command line to stop, at the worst moment."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from chatstash.cli.signals import StopRequest


def test_a_signal_at_any_step_of_waiting_is_heard() -> None:
    for moment in range(1, 30):
        stop, steps = StopRequest(), 0

        def trace(frame: FrameType, event: str, arg: Any, moment: int = moment, stop: StopRequest = stop) -> Any:
            nonlocal steps
            steps += 1
            if steps == moment:
                stop.receive(signal.SIGTERM, None)
            return trace

        sys.settrace(trace)
        try:
            stop.wait(0)
        finally:
            sys.settrace(None)
        assert stop.is_set() == (steps >= moment)
    assert not StopRequest().wait(0)
