"""The twin of Redis: what the services use of it, in memory, behind redis-py's own client surface."""
