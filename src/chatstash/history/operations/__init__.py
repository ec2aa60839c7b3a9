"""The operations of a conversation: one workflow each, written once for blocking callers and asyncio."""
