"""Threads of checkpoints as LangGraph needs them stored. Knows nothing of LangGraph or HTTP."""
