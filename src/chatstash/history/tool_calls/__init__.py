"""Tool calls and their results: where a record holds them, and which belong together."""
