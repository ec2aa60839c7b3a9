"""Moves stored conversations into LangGraph's threads, and back, with any checkpointer and without the graph."""
