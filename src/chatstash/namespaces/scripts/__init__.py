"""The Lua scripts of namespaces. Their headers say keys, arguments, answer and cost, as in `history/scripts/`."""
