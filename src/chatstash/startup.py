"""Imported first, so that Ctrl-C while the command line is still importing shows no traceback."""

from __future__ import annotations

import os
import sys


def exit_silently_on_interrupt() -> None:
    """Let Ctrl-C end this process at once, unless the signal is ignored or has another handler."""
    import signal  # noqa: PLC0415 - only for the command line
    import threading  # noqa: PLC0415

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_command_line() -> bool:
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":
        # Python sets this only while it looks for the package of `python -m PACKAGE`.
        return "-m" in sys.orig_argv and sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == ["chatstash"]
    folder, name = os.path.split(os.path.realpath(program))
    return name in ("chatstash", "chatstash.exe") and folder == os.path.realpath(os.path.dirname(sys.executable))  # noqa: PTH120


# The imports take a tenth of a second, during which Ctrl-C would print a traceback.
if _is_command_line():
    exit_silently_on_interrupt()
