"""An HTTP/1.1 server on asyncio that can break its own connections on demand. Knows nothing of Redis.

httptools (llhttp, Node's own parser) reads the requests. The rest is written here because a server library lets no
handler send half a body, reset a connection or stay silent. It also answers two to three times as many requests per
CPU-second as uvicorn or aiohttp (docs/dependencies.md).
"""
