"""The client of one Upstash database over HTTP. Knows nothing of chats.

`commands`, `protocol`, `ops`, `endpoint`, `limits` and `sync_token` are pure; `http` is the one door to the network;
`database` runs operations through it.
"""
