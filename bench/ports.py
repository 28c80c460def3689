"""Free ports on the loopback interface for servers that are stopped and restarted."""

from __future__ import annotations

import itertools
import os
import random
import socket

FIRST, LAST = 10_000, 22_000
"""A range below the ephemeral ports: there, a client that connects to a stopped server could take its port or connect
to itself. A Redis Cluster also listens 10,000 higher."""

SHARE = 1000
"""Each process has a part of the range to itself, unless there are more than twelve, and goes through it in turn: so no
two servers are given a port that is free only because the other does not listen yet."""

_turns = itertools.count(random.randrange(SHARE))  # noqa: S311 - no secret


def free_ports(count: int = 1) -> int:
    """Return the first of `count` consecutive free ports. Raises OSError."""
    begin = FIRST + os.getpid() * SHARE % (LAST - FIRST)
    for _ in range(SHARE):
        first, *others = ports = [begin + next(_turns) % SHARE for _ in range(count)]
        if others == list(range(first + 1, first + count)) and all(map(is_free, ports)):
            return first
    raise OSError(f"no {count} free ports in a row between {begin} and {begin + SHARE}")


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
