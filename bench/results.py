"""Everything one run of the suite has found out; what is written as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from bench.figures import Figure, figures, quantities, ratio
from bench.plan import Outcome

if TYPE_CHECKING:
    from pathlib import Path

OURS = "mcp_actors"


class Measured(Struct):
    """One contender in one variant of a scenario: an outcome per round, or why there is none."""

    scenario: str
    variant: str
    contender: str
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""

    @property
    def figures(self) -> dict[str, Figure]:
        """Over all rounds."""
        return figures(self.outcomes)


class LoadPoint(Struct, frozen=True):
    """A relay under an open loop: the load as a share of its throughput in the closed one, and what came of it."""

    contender: str
    share: float
    rate: float
    outcome: Outcome


class Results(Struct):
    """One run. `machine`: where, with what versions, of which commit."""

    machine: dict[str, Any]
    options: dict[str, Any]
    measured: list[Measured] = field(default_factory=list)
    load_points: list[LoadPoint] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def find(self, scenario: str, variant: str, contender: str) -> Measured | None:
        """What was measured of a contender."""
        for one in self.measured:
            if (one.scenario, one.variant, one.contender) == (scenario, variant, contender):
                return one
        return None

    def figure(self, scenario: str, variant: str, contender: str, name: str) -> Figure | None:
        """One quantity of a contender."""
        found = self.find(scenario, variant, contender)
        return found.figures.get(name) if found else None

    def ratio(self, scenario: str, variant: str, contender: str, name: str = "cpu_us", of: str = OURS) -> float | None:
        """Ours to theirs, or that of another contender."""
        ours = self.figure(scenario, variant, of, name)
        return ratio(ours, self.figure(scenario, variant, contender, name))

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        tree = msgspec.to_builtins(self)
        for entry, one in zip(tree["measured"], self.measured, strict=True):
            entry["figures"] = {name: figure._asdict() for name, figure in one.figures.items()}
            entry["rounds"] = [quantities(outcome) for outcome in one.outcomes]
            entry["ours_to_this"] = {
                name: found
                for name in ("cpu_us", "bytes_per_connection", "latency_p99_us")
                if (found := self.ratio(one.scenario, one.variant, one.contender, name)) is not None
            }
        path.write_bytes(msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n")
