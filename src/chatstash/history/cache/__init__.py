"""Snapshots of conversations, kept in memory, so that reading again fetches only newer records."""
