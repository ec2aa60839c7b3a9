"""One Upstash database: an engine, and the limits, access rules, replicas and bills that Upstash adds.

No data command is implemented here; the engine runs them all.
"""

from chatstash.local.database.database import Database
from chatstash.local.database.executor import Answer
from chatstash.local.database.plans import PLANS, Limits, limits_of

__all__ = ["PLANS", "Answer", "Database", "Limits", "limits_of"]
