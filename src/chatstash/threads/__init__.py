"""Threads of checkpoints, as agents need them stored. Knows nothing of LangGraph or HTTP.

A thread is a hash and a sorted set (`layout`). Values are split into groups of elements (`groups`), each stored once;
the header of a checkpoint says which it consists of (`header`, `manifest`). Operations are generators that
`chatstash.rest` runs.
"""
