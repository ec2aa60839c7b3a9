"""The first thing that runs of the command line: until a command has a handler, Ctrl-C ends it without a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading


def end_silently_on_interrupt() -> None:
    """Let Ctrl-C end this process at once, unless it is ignored or handled by somebody else."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_command_line() -> bool:
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":
        # So it is only while the package of `python -m PACKAGE` is looked for.
        return "-m" in sys.orig_argv and sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == ["chatstash"]
    folder, name = os.path.split(os.path.realpath(program))
    return name in ("chatstash", "chatstash.exe") and folder == os.path.dirname(sys.executable)  # noqa: PTH120


# Importing the package takes a tenth of a second, in which KeyboardInterrupt would show where.
if _is_command_line():
    end_silently_on_interrupt()
