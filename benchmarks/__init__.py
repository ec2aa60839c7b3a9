"""Benchmarks: measurements with ratios within one run. Never part of the tests."""
