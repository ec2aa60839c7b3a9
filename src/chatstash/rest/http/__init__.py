"""An HTTP/1.1 client for one database: a core without I/O, and two shells that move its bytes.

`pool` and `asyncio_pool` are the entry points. `connection` decides what to send next and what received bytes mean;
`replies` reads one reply with llhttp; only `blocking` and `asyncio_io` touch a socket.
"""
