"""Items in namespaces, as agents keep them across threads. Knows nothing of LangGraph or HTTP.

A namespace is a hash; sorted sets list the namespaces (`layout`). The operation is a generator that `chatstash.rest`
runs.
"""
