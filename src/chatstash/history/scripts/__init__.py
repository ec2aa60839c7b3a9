"""The Lua scripts, and the calls that run them. Pure."""
