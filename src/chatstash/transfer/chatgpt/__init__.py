"""ChatGPT's data export: its files, the tree of a conversation, and its messages."""
