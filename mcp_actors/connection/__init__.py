"""One client, sans I/O: limits, identity, outbox, heartbeat."""
