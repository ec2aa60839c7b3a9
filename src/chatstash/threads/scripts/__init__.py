"""The Lua scripts of threads. Their headers say keys, arguments, answer and cost, as in `history/scripts/`."""
