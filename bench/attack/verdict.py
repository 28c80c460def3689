"""The result of an attack, and the limits that it must not exceed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from bench.plan import Latency

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = 96 * 2**20
"""Bytes by which the server's memory may exceed that before the first attack."""

FACTOR = 2.0
"""Times the latency beside an attack on the other server that the bystanders' median may be, and a slack."""

TAIL_FACTOR, TAIL_SLACK_US = 4.0, 10_000.0
"""The same for the 99th percentile, which is noisier where five processes share two cores."""


class Times(NamedTuple):
    """`slack`: of the bystanders' median. `newcomers`: within which 95 % of them must have connected and joined."""

    slack: float
    newcomers: float


PLAIN, TLS = Times(500.0, 100_000.0), Times(1000.0, 200_000.0)
"""In microseconds. A TLS handshake adds two round trips, and steps of OpenSSL of half a millisecond and more."""

KERNEL = 96 * 2**20
"""Bytes by which the kernel's memory for TCP sockets may grow, including those of the attackers."""

LOG_AT_ONCE, LOG_RATE = 65_536, 8192
"""Bytes of log that an attack may cause: at once, and per second in addition."""


class Verdict(Struct):
    """The result of one attack. `calm`, `elsewhere` (the other server is attacked) and `during` are latencies.

    `grown`: growth of memory in bytes. `tracebacks`: log lines. `newcomers` and `newcomers_elsewhere`: how long
    newcomers take to join during the attack, and while the other server is attacked. `kernel`: growth of the kernel's
    memory for TCP sockets in bytes. `logged`: bytes of log. `seconds`: length of the attack. `limits`: those of times.
    """

    attack: str
    attempts: int = field(name="strikes")
    cut: int
    calm: Latency
    elsewhere: Latency
    during: Latency
    lost: int
    grown: int
    tracebacks: list[str]
    complaints: list[str]
    newcomers_elsewhere: Latency
    newcomers: Latency
    kernel: int
    logged: int
    seconds: float
    limits: Times = PLAIN

    @property
    def ratio(self) -> float:
        """The median latency during the attack, relative to that while the other server was attacked."""
        return self.during.p50 / self.elsewhere.p50 if self.elsewhere.p50 else 0.0

    @property
    def tail_ratio(self) -> float:
        """The same for the 99th percentile."""
        return self.during.p99 / self.elsewhere.p99 if self.elsewhere.p99 else 0.0

    def breaches(self, *, timed: bool = True) -> Iterator[str]:
        """Describe each exceeded limit. Times are judged only if `timed`, as a short run has too few of them."""
        if not self.attempts:
            yield "no attack was made"
        if not self.during.count:
            yield "no message of the bystanders arrived"
        if not self.newcomers.count:
            yield "no newcomer came"
        if self.lost:
            yield f"{self.lost} messages of bystanders were lost"
        if self.tracebacks:
            yield f"{len(self.tracebacks)} tracebacks in the log; the first: {self.tracebacks[0][:300]}"
        yield from self.complaints
        yield from self._growth()
        if timed:
            yield from self._delays()

    def _growth(self) -> Iterator[str]:
        if self.grown > MEMORY:
            yield f"memory grew by {self.grown / 2**20:.1f} MiB, more than {MEMORY // 2**20}"
        if self.kernel > KERNEL:
            yield f"the kernel's memory for sockets grew by {self.kernel / 2**20:.1f} MiB, more than {KERNEL // 2**20}"
        if self.logged > LOG_AT_ONCE + LOG_RATE * self.seconds:
            yield f"{self.logged} bytes of log were written in {self.seconds:g} s"

    def _delays(self) -> Iterator[str]:
        rest = "times that of an attack on the other server"
        if self.during.p50 > FACTOR * self.elsewhere.p50 + self.limits.slack:
            yield f"the median of bystanders was {self.ratio:.1f} {rest}"
        if self.during.p99 > TAIL_FACTOR * self.elsewhere.p99 + TAIL_SLACK_US:
            yield f"the 99th percentile of bystanders was {self.tail_ratio:.1f} {rest}"
        if self.newcomers.p95 > self.limits.newcomers:
            yield f"the 95th percentile of newcomers took {self.newcomers.p95 / 1000:.0f} ms to join"
