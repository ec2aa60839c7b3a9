"""The client of one Upstash database over HTTP. Knows nothing of chats.

`database` runs operations (`ops`): generators that yield batches of `commands`. `protocol` turns a batch into an HTTP
request and a reply into values; `http` is the only package that uses the network.
"""
