"""chatstash for the OpenAI Agents SDK."""
