"""Fault injection: checks, from the outside, that rooms spanning several nodes keep their promises during faults.

Clients exchange messages with several nodes over WebSockets while a fault is injected: connections to Redis are cut,
the Redis server is restarted, or a node is killed or frozen. Each client records what it sends and receives, and the
checks compare the records.
"""
