"""What the harness and the load process say to each other: a plan in, an outcome out, both as JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Duration = Annotated[float, Meta(ge=0, le=3600)]


class Process(Struct, frozen=True, forbid_unknown_fields=True):
    """A process that takes part, and where it listens."""

    url: str
    pid: Positive


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement: what to do to which server, and for how long.

    `window`: messages in flight per pair or sender. `rate`: messages per second of all together; 0 sends the next when
    one arrives. `live`: rooms that exist meanwhile. `others`: further processes of the server; `redis`: what they
    share.
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
    """Microseconds; all 0 where `count` is 0."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Outcome(Struct, frozen=True, kw_only=True):
    """What was measured. `load_busy`: the share of a core the load process took; near 1, the load limits throughput."""

    operations: int
    seconds: float
    cpu_ns: int
    rss_bytes: int
    latency: Latency = Latency()
    load_busy: float = 0.0
    extra: dict[str, float] = {}

    @property
    def cpu_us(self) -> float:
        """CPU of the server per operation, in microseconds."""
        return self.cpu_ns / 1000 / self.operations if self.operations else 0.0

    @property
    def throughput(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds if self.seconds else 0.0


class PlanError(Exception):
    """A plan that cannot be read; `str(error)` says why."""


def read_plan(text: bytes) -> Plan:
    """Read a plan. Raises `PlanError`."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except msgspec.DecodeError as error:
        raise PlanError(f"The plan cannot be read: {error}.") from None


def percentiles(nanoseconds: list[int]) -> Latency:
    """Sum up latencies; a percentile is the smallest value that so many do not exceed."""
    if not nanoseconds:
        return Latency()
    ordered = sorted(nanoseconds)
    last = len(ordered) - 1

    def at(share: float) -> float:
        return ordered[min(last, max(0, -int(-share * len(ordered) // 1) - 1))] / 1000

    return Latency(len(ordered), at(0.50), at(0.95), at(0.99), ordered[last] / 1000)
