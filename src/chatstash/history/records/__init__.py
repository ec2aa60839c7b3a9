"""The stored form of a conversation: records, their ids, and the keys they are stored at."""
