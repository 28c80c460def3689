"""The goals of the project, and whether a run meets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import COUNTS
from bench.results import CHECKOUT, OURS

if TYPE_CHECKING:
    from bench.results import Results


@dataclass(frozen=True, slots=True)
class Goal:
    """A quantity of the contender `of` that must not exceed `most`, absolutely or relative to `to` or `to_variant`.

    With `to=CHECKOUT`, it is relative to each other checkout that is measured.
    """

    scenario: str
    variant: str
    quantity: str
    most: float
    to: str = ""
    to_variant: str = ""
    of: str = OURS

    def value(self, results: Results) -> float | None:
        """Return what a run measured, or None if it did not. Of several checkouts, the worst ratio counts."""
        if self.to:
            others = results.checkouts() if self.to == CHECKOUT else [self.to]
            ratios = [results.ratio(self.scenario, self.variant, one, self.quantity, self.of) for one in others]
            return max((ratio.median for ratio in ratios if ratio), default=None)
        ours = results.figure(self.scenario, self.variant, self.of, self.quantity)
        if ours is None:
            return None
        if not self.to_variant:
            return ours.most if self.quantity in COUNTS else ours.median
        base = results.figure(self.scenario, self.to_variant, self.of, self.quantity)
        return ours.median / base.median if base else None

    def __str__(self) -> str:
        whose = "" if self.of == OURS else f"of {self.of}"
        than = "another checkout" if self.to == CHECKOUT else self.to or self.to_variant
        return " ".join(filter(None, (self.scenario, self.variant, self.quantity, whose, f"to {than}" if than else "")))


GOALS = (
    Goal("relay", "candidate", "cpu_us", 0.40, to="tornado"),
    Goal("relay", "candidate", "cpu_us", 1.0, to="ws"),
    Goal("relay", "candidate", "cpu_us", 0.06, to="channels"),
    Goal("relay", "offer", "cpu_us", 0.35, to="tornado"),
    Goal("relay", "offer", "cpu_us", 0.75, to="ws"),
    Goal("relay", "offer", "cpu_us", 0.06, to="channels"),
    Goal("relay", "candidate", "cpu_us", 0.35, to="channels", of="asgi"),
    Goal("relay", "offer", "cpu_us", 0.35, to="channels", of="asgi"),
    Goal("relay", "candidate", "cpu_us", 1.10, to="sessionless"),
    Goal("relay", "offer", "cpu_us", 1.10, to="sessionless"),
    Goal("relay", "candidate", "cpu_us", 1.05, to="unguarded", of="guarded"),
    Goal("relay", "offer", "cpu_us", 1.05, to="unguarded", of="guarded"),
    Goal("relay", "candidate", "cpu_us", 1.05, to=OURS, of="operated"),
    Goal("relay", "offer", "cpu_us", 1.05, to=OURS, of="operated"),
    Goal("relay", "candidate", "cpu_us", 0.90, to="peerjs", of="gateway"),
    Goal("relay", "offer", "cpu_us", 0.90, to="peerjs", of="gateway"),
    Goal("mesh", "", "cpu_us", 0.10, to="y-webrtc", of="y-gateway"),
    Goal("relay", "candidate", "cpu_us", 1.03, to=CHECKOUT),
    Goal("relay", "offer", "cpu_us", 1.03, to=CHECKOUT),
    Goal("broadcast", "", "cpu_us", 1.03, to=CHECKOUT),
    Goal("idle", "", "bytes_per_connection", 1.03, to=CHECKOUT),
    Goal("relay-processes", "candidate", "cpu_us", 3.0, to="in-process"),
    Goal("relay-processes", "offer", "cpu_us", 3.0, to="in-process"),
    Goal("relay-processes", "candidate", "redis_commands", 1.0),
    Goal("relay-processes", "offer", "redis_commands", 1.0),
    Goal("relay-processes", "light", "latency_p50_us", 1000),
    Goal("relay-processes", "candidate", "amiss", 0),
    Goal("relay-processes", "offer", "amiss", 0),
    Goal("relay-processes", "light", "amiss", 0),
    Goal("idle", "", "bytes_per_connection", 14 * 1024),
    Goal("broadcast", "", "cpu_us", 1.1, to="ws"),
    Goal("churn", "in process", "create_us_max", 60),
    Goal("churn", "in process", "retire_us_max", 60),
    Goal("isolation", "loud", "latency_p99_us", 2.0, to_variant="quiet"),
    Goal("isolation", "loud", "latency_p99_us", 2.0, to_variant="elsewhere"),
    Goal("isolation", "limited", "latency_p99_us", 2.0, to_variant="quiet"),
    Goal("isolation", "slow reader", "latency_p99_us", 2.0, to_variant="quiet"),
)


def judge(results: Results) -> list[tuple[Goal, float]]:
    """Return the goals that a run has measured, each with its value."""
    return [(goal, value) for goal in GOALS if (value := goal.value(results)) is not None]
