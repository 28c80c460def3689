"""The plan that the harness gives to the load process and the outcome it gets back, both as JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Duration = Annotated[float, Meta(ge=0, le=3600)]


class Process(Struct, frozen=True, forbid_unknown_fields=True):
    """A process of the server, or the Redis server."""

    url: str
    pid: Positive


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement.

    `window`: messages in flight per pair or sender. `rate`: messages per second of all clients together; with 0, each
    message is sent when one arrives. `live`: rooms that exist meanwhile. `others`: further processes of the server.
    `redis`: the Redis server that they share.
    """

    scenario: str
    url: str
    dialect: str
    server: Positive
    variant: str = ""
    connections: Positive = 64
    window: Positive = 4
    rate: Annotated[float, Meta(ge=0)] = 0.0
    live: Annotated[int, Meta(ge=0)] = 0
    others: tuple[Process, ...] = ()
    redis: Process | None = None
    warm_up: Duration = 1.0
    seconds: Duration = 5.0


class Latency(Struct, frozen=True):
    """Latency in microseconds; all 0 if `count` is 0."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of a measurement.

    `load_busy`: the share of a core that the load process used; near 1, it limits throughput.
    """

    operations: int
    seconds: float
    cpu_ns: int
    rss_bytes: int
    latency: Latency = Latency()
    load_busy: float = 0.0
    extra: dict[str, float] = {}

    @property
    def cpu_us(self) -> float:
        """CPU of the server per operation in microseconds."""
        return self.cpu_ns / 1000 / self.operations if self.operations else 0.0

    @property
    def throughput(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds if self.seconds else 0.0


class PlanError(Exception):
    """A plan cannot be read; `str(error)` says why."""


def read_plan(text: bytes) -> Plan:
    """Read a plan. Raises `PlanError`."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except msgspec.DecodeError as error:
        raise PlanError(f"The plan cannot be read: {error}.") from None


def percentiles(nanoseconds: list[int]) -> Latency:
    """Summarize latencies. A percentile is the smallest value that this share of all values does not exceed."""
    if not nanoseconds:
        return Latency()
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1

    def at(share: float) -> float:
        return ordered[min(last, max(0, -int(-share * len(ordered) // 1) - 1))] / 1000

    return Latency(len(ordered), at(0.50), at(0.95), at(0.99), ordered[last] / 1000)
