"""Items in namespaces, as an agent keeps them across threads. Knows nothing of LangGraph or HTTP."""
