"""A model of the processes and Redis servers that a number of connections needs, from measured costs."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

MOST_BUCKETS = 64
"""The most buckets, and so the most Redis shards, of a deployment."""
MICROSECONDS = 1_000_000
HOUR = 3600


class Costs(NamedTuple):
    """Measured costs: CPU in microseconds, memory in bytes.

    `crossing` and `redis` are the costs of a signal between processes: in both processes together, and in Redis.
    """

    connection_bytes: float
    idle: float
    join: float
    signal: float
    crossing: float
    redis: float


class Workload(NamedTuple):
    """The assumptions.

    `signals`: of each pair of members that connects. `busy`: the share of a core that may be used.
    """

    members: int = 4
    joins_per_hour: float = 2
    signals: float = 30
    busy: float = 0.7
    process_bytes: float = 1 << 30

    @property
    def joins_per_second(self) -> float:
        """Joins of one connection in a second."""
        return self.joins_per_hour / HOUR

    @property
    def signals_per_second(self) -> float:
        """Signals of one connection in a second: a member that joins connects to all others."""
        return self.joins_per_second * (self.members - 1) * self.signals


class Need(NamedTuple):
    """What a number of connections needs. `shards` may exceed `MOST_BUCKETS`: then one deployment is not enough."""

    connections: int
    processes: int
    first: str
    crossing_share: float
    signals_between_two: float
    shards: int


def crossing_share(processes: int) -> float:
    """Return the probability that two members, each at a random process, are at different ones."""
    return 1 - 1 / processes


def need(connections: int, costs: Costs, workload: Workload) -> Need:
    """Return what is needed. More processes make more signals cross, so the number is raised until it suffices."""
    by_memory = max(1, ceil(connections * costs.connection_bytes / workload.process_bytes))
    processes = by_memory
    while (wanted := _by_cpu(connections, processes, costs, workload)) > processes:
        processes = wanted
    share = crossing_share(processes)
    crossing = connections * workload.signals_per_second * share
    shards = ceil(crossing * costs.redis / MICROSECONDS / workload.busy)
    between = crossing / (processes * (processes - 1)) if processes > 1 else 0.0
    return Need(connections, processes, "CPU" if processes > by_memory else "memory", share, between, shards)


def _by_cpu(connections: int, processes: int, costs: Costs, workload: Workload) -> int:
    share = crossing_share(processes)
    signal = (1 - share) * costs.signal + share * costs.crossing
    each = costs.idle + workload.joins_per_second * costs.join + workload.signals_per_second * signal
    return ceil(connections * each / MICROSECONDS / workload.busy)
