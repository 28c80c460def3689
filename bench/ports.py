"""Free ports of the loopback interface for servers that are stopped and started again."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 10_000, 22_000
"""Below what the kernel gives to outgoing connections: there, a client that dials a server which is away can take its
port, or meet itself. A Redis Cluster listens 10,000 higher too."""

ATTEMPTS = 200


def free_ports(count: int = 1) -> int:
    """The first of `count` consecutive ports on which nobody listens."""
    for _ in range(ATTEMPTS):
        first = random.randrange(FIRST, LAST - count)  # noqa: S311 - no secret
        if all(is_free(first + offset) for offset in range(count)):
            return first
    raise OSError(f"no {count} free ports in a row between {FIRST} and {LAST}")


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
