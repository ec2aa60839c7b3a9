"""The operations of threads, as generators."""
