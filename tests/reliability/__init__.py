"""Nothing lost, nothing doubled: what chatstash promises, with real faults from the local Upstash."""
