"""Agents need LangChain 1, which the run with the lowest versions does not have."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("langgraph") else ["test_*.py"]
