"""Long operations on many sessions, as workflows of calls: scans, erasure, exports, the upkeep of the session index."""
