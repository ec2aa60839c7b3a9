"""Benchmarks: ratios measured within one run. Not part of the tests."""
