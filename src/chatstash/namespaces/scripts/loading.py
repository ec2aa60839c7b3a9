"""The scripts of namespaces, and the calls that run them."""

from __future__ import annotations

from chatstash.rest.scripts import Scripts

SCRIPTS = Scripts(__package__, {})
call = SCRIPTS.call
