"""Upstash's REST API as plain values: requests, replies in three encodings, rejected commands, events."""
