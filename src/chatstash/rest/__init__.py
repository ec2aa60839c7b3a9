"""The client of one Upstash database over HTTP. Knows nothing of chats.

`commands`, `protocol`, `ops`, `endpoint` and `sync_token` are pure; `sync_pool` and `async_pool` open sockets;
`transport` drives operations over them.
"""
