"""Chaos: many writers and readers, random faults of every kind, and then a count of what is stored.

    python -m tests.reliability.chaos [--seed N] [--appends N] [--delivery standard|strict] [--late SECONDS] [--peer]

Meanwhile a doctor repairs, stored texts are edited in place, other programs damage conversations, writers' clocks
differ by up to a day, one conversation is bounded, and readers read in every way. The seed decides what is written and
the odds of faults; how threads interleave is up to the machine, so two runs are alike, not the same.
"""
