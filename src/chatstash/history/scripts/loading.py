"""The scripts of conversations, and the calls that run them."""

from __future__ import annotations

from chatstash.history.scripts.constants import CONSTANTS
from chatstash.rest.scripts import Scripts

APPEND_COUNT_INDEX, COUNT_INDEX = 2, 1
"""The place of `commands` in the answer of a script that appends or reads a page, and of any other."""

SCRIPTS = Scripts(__package__, CONSTANTS)
call = SCRIPTS.call
