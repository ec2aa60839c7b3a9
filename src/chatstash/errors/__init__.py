"""Every exception and warning of chatstash, as one tree.

```text
    ChatstashError
    ├── DatabaseError                 a request to the database failed
    │   ├── BadCredentials            the token is missing, wrong or revoked
    │   ├── ReadOnlyToken             the token may not run this command
    │   ├── RequestTooLarge           over the plan's request, record or key size
    │   ├── QuotaExceeded             the plan's monthly commands or storage are used up
    │   ├── RateLimited               too many requests; `retry_after` holds seconds if the server says
    │   ├── WrongType                 the key holds a value that is not a list
    │   ├── CommandRejected           any other refusal by the database
    │   ├── ServerError               status 5xx, or the database is loading or busy
    │   │   └── GatewayError          408, or 5xx from a proxy in front of the database (also a ProtocolError)
    │   ├── ConnectionFailed          no connection, or it broke (also a builtin ConnectionError)
    │   ├── RequestTimeout            no complete reply in time (also a builtin TimeoutError)
    │   ├── ProtocolError             the reply does not follow Upstash's REST API
    │   ├── ConversationChanged       the conversation changed between two pages, or since its cursor was made
    │   └── OutcomeUnknown            a write whose reply was lost: it may or may not have been applied.
    │                                 Raised as a subclass that is also of the type of the cause:
    │                                 OutcomeUnknownAfterTimeout is also a RequestTimeout, and so on.
    ├── UnreadableRecord              a stored record cannot be read; carries the readable ones
    │   ├── CorruptRecord             it is damaged, or not a record (also a ValueError)
    │   └── UnsupportedRecord         a newer version of chatstash wrote it
    ├── UnstorableMessage             not a message, or it holds a value that JSON cannot (also a TypeError)
    ├── RecordTooLarge                one message exceeds the size of a request (also a ValueError)
    ├── IdempotencyConflict           the idempotency key was used for other messages (also a ValueError)
    ├── ConcurrentTurn                others changed the conversation during a guarded turn; carries the new records
    ├── MessageNotFound               the conversation has no message, or alternative, with this id (also a LookupError)
    ├── SessionNotFound               the session index has no such session (also a LookupError)
    ├── ConversationExists            a conversation with this key exists already (also a ValueError)
    ├── ReplyNotStored                `with_history` cannot store the reply; carries it (also a ValueError)
    ├── ReplyGone                     the event was answered before, and the answer is no longer stored
    ├── UnreadableCheckpoint          a stored checkpoint of a thread cannot be read
    │   ├── CorruptCheckpoint         it is damaged, or a part is missing (also a ValueError)
    │   └── UnsupportedCheckpoint     a newer version of chatstash wrote it
    ├── UnreadableItem                a stored item of a namespace cannot be read
    │   ├── CorruptItem               it is damaged (also a ValueError)
    │   └── UnsupportedItem           a newer version of chatstash wrote it
    ├── TypeNotAllowed                stored state has a value of a type that may not be loaded (also a TypeError)
    ├── ThreadInUse                   a conversation cannot be imported into a thread that is in use
    ├── UnstorableValue               a value of the state cannot be serialised (also a TypeError)
    └── StoreClosed                   the store was used after close() (also a RuntimeError)

    ChatstashWarning (UserWarning)
    ├── InsecureConnectionWarning     the token travels unencrypted
    └── LargeThreadWarning            a thread comes near the maximum size of a record
```

An invalid argument (an empty session id, a ttl of zero) raises a plain ValueError before anything is sent.
"""

from chatstash.errors import base, conversations, database, threads
from chatstash.errors.base import *  # noqa: F403 - its __all__ is curated
from chatstash.errors.conversations import *  # noqa: F403
from chatstash.errors.database import *  # noqa: F403
from chatstash.errors.threads import *  # noqa: F403

__all__: list[str] = []
__all__ += base.__all__
__all__ += conversations.__all__
__all__ += database.__all__
__all__ += threads.__all__

# Tracebacks and pickles name the public place.
for _name in __all__:
    globals()[_name].__module__ = __name__
