"""Free ports on the loopback interface for servers that are stopped and restarted."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 10_000, 22_000
"""A range below the ephemeral ports: there, a client that connects to a stopped server could take its port or connect
to itself. A Redis Cluster also listens 10,000 higher."""

ATTEMPTS = 200


def free_ports(count: int = 1) -> int:
    """Return the first of `count` consecutive free ports. Raises OSError."""
    for _ in range(ATTEMPTS):
        first = random.randrange(FIRST, LAST - count)  # noqa: S311 - no secret
        if all(is_free(first + offset) for offset in range(count)):
            return first
    raise OSError(f"no {count} free ports in a row between {FIRST} and {LAST}")


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
