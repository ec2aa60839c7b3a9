"""The command `migrate`: imports stored conversations into LangGraph threads, and reports."""
