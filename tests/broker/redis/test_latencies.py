"""Latencies of Redis: clocks that differ by an hour change nothing, and what is wrong is bounded by the probes."""

from __future__ import annotations

import pytest

from mcp_actors.broker.redis.latencies import PROBES, Latencies

HOUR = 3600.0


class Clocks:
    """The clock of this process, and that of Redis, which is `ahead` of it."""

    def __init__(self, ahead: float) -> None:
        self.now = 1000.0
        self.ahead = ahead
        self.latencies = Latencies()

    def stamp(self) -> int:
        return int((self.now + self.ahead) * 1000)

    def probe(self, there: float, back: float) -> None:
        """Send a probe that takes so many seconds to Redis and back."""
        self.latencies.probe_sent(self.now)
        self.now += there
        stamp = self.stamp()
        self.now += back
        self.latencies.probe_answered(self.now)
        self.latencies.probe_read(stamp, self.now)

    def delivered(self, seconds: float) -> float:
        """Measure an entry that takes so long to arrive; return what was measured."""
        before, stamp = self.latencies.delivery.sum, self.stamp()
        self.now += seconds
        self.latencies.entry_read(stamp, self.now)
        return self.latencies.delivery.sum - before


@pytest.mark.parametrize("ahead", [-HOUR, 0.0, HOUR])
def test_an_entry_is_as_old_as_it_is_whatever_the_clock_of_redis_says(ahead: float) -> None:
    clocks = Clocks(ahead)
    clocks.probe(0.004, 0.004)
    assert clocks.delivered(0.1) == pytest.approx(0.1, abs=0.0021)


def test_nothing_is_measured_before_the_first_probe() -> None:
    clocks = Clocks(HOUR)
    assert clocks.delivered(0.1) == 0.0
    assert sum(clocks.latencies.delivery.counts) == 0


def test_the_fastest_of_the_last_probes_counts() -> None:
    clocks = Clocks(HOUR)
    clocks.probe(0.001, 0.001)
    clocks.probe(2.0, 0.0)  # says that Redis is a second ahead of what it is
    assert clocks.delivered(0.1) == pytest.approx(0.1, abs=0.003)
    for _ in range(PROBES):
        clocks.probe(2.0, 0.0)
    assert clocks.delivered(0.1) == pytest.approx(1.1, abs=0.003)


def test_the_time_of_redis_is_known_once_a_probe_told_it() -> None:
    clocks = Clocks(HOUR)
    assert clocks.latencies.stamp(clocks.now) is None
    clocks.probe(0.001, 0.001)
    assert clocks.latencies.stamp(clocks.now - 5) == pytest.approx(clocks.stamp() - 5000, abs=2)
    clocks.ahead -= 2.0  # its clock was set
    clocks.probe(0.001, 0.001)
    assert clocks.latencies.stamp(clocks.now) == pytest.approx(clocks.stamp(), abs=2)


def test_a_probe_is_measured_with_one_clock() -> None:
    clocks = Clocks(HOUR)
    clocks.probe(0.2, 0.3)
    assert clocks.latencies.probe.sum == pytest.approx(0.5)


def test_a_probe_may_be_read_before_it_is_acknowledged() -> None:
    clocks = Clocks(HOUR)
    clocks.latencies.probe_sent(clocks.now)
    clocks.now += 0.002
    clocks.latencies.probe_read(clocks.stamp(), clocks.now)
    assert clocks.delivered(0.1) == pytest.approx(0.1, abs=0.003)
