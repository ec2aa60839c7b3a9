"""An HTTP/1.1 client for one database: one core without I/O, and two shells that move its bytes.

`pool` is the door. `connection` says what to send next and what received bytes mean; `replies` reads one reply, with
llhttp as its parser; `blocking` and `asyncio_io` are the only modules that touch a socket.
"""
