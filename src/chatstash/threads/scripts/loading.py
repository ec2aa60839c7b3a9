"""The scripts of threads, and the calls that run them."""

from __future__ import annotations

from chatstash.rest.scripts import Scripts

COUNT_INDEX = 0
"""The place of `commands` in the answer of a script."""

SCRIPTS = Scripts(__package__, {})
call = SCRIPTS.call
