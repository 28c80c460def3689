"""The results of a run, and how they are written as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from bench.figures import Figure, Ratio, figures, quantities, ratio
from bench.plan import Outcome

if TYPE_CHECKING:
    from pathlib import Path

OURS = "mcp_actors"
CHECKOUT = f"{OURS}@"
"""The prefix of the names of other checkouts."""

RATIOS = ("cpu_us", "throughput", "latency_p50_us", "latency_p99_us", "bytes_per_connection", "rss_mib")
"""Quantities whose ratio is reported."""


class Measured(Struct):
    """A contender in a variant of a scenario: an outcome per round, or why there is none."""

    scenario: str
    variant: str
    contender: str
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures over all rounds."""
        return figures(self.outcomes)


class LoadPoint(Struct, frozen=True):
    """A relay at a fixed rate: its share of the closed loop's throughput in percent, and the outcome."""

    contender: str
    share: float
    rate: float
    outcome: Outcome


class Results(Struct):
    """The results of a run. `machine`: the machine, the versions and the commit."""

    machine: dict[str, Any]
    options: dict[str, Any]
    measured: list[Measured] = field(default_factory=list)
    load_points: list[LoadPoint] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def find(self, scenario: str, variant: str, contender: str) -> Measured | None:
        """Return what was measured of a contender, or None."""
        for one in self.measured:
            if (one.scenario, one.variant, one.contender) == (scenario, variant, contender):
                return one
        return None

    def figure(self, scenario: str, variant: str, contender: str, name: str) -> Figure | None:
        """Return a quantity of a contender, or None."""
        found = self.find(scenario, variant, contender)
        return found.figures.get(name) if found else None

    def ratio(self, scenario: str, variant: str, contender: str, name: str = "cpu_us", of: str = OURS) -> Ratio | None:
        """Return the ratio of a quantity of ours, or of the contender `of`, to that of a contender."""
        ours, theirs = self.find(scenario, variant, of), self.find(scenario, variant, contender)
        return ratio(ours.outcomes, theirs.outcomes, name) if ours and theirs else None

    def checkouts(self) -> list[str]:
        """Return the names of the other checkouts that were measured."""
        return list(dict.fromkeys(one.contender for one in self.measured if one.contender.startswith(CHECKOUT)))

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        tree = msgspec.to_builtins(self)
        for entry, one in zip(tree["measured"], self.measured, strict=True):
            entry["figures"] = {name: figure._asdict() for name, figure in one.figures.items()}
            entry["rounds"] = [quantities(outcome) for outcome in one.outcomes]
            ratios = {name: self.ratio(one.scenario, one.variant, one.contender, name) for name in RATIOS}
            found = {name: ratio for name, ratio in ratios.items() if ratio}
            entry["ours_to_this"] = {name: ratio.median for name, ratio in found.items()}
            if one.contender.startswith(CHECKOUT):
                entry["ratios"] = {name: ratio._asdict() for name, ratio in found.items()}
        path.write_bytes(msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n")
