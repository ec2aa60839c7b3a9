"""chatstash for LangGraph."""
