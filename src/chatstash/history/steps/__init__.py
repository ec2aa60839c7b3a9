"""The steps that several operations share, each a generator."""
