"""A process that ends without closing anything ends quietly."""

import asyncio

from chatstash import UpstashRedisChatMessageHistory

UpstashRedisChatMessageHistory("exit").add_user_message("x")
asyncio.run(UpstashRedisChatMessageHistory("exit").aget_messages())
print("ok")
