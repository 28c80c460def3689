"""The bases of all scenarios: what they measure, and for most a plan for the load process and the load itself."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.plan import Plan
from bench.runner import LoadError, run_load

if TYPE_CHECKING:
    from bench.contender import Contender, Server
    from bench.plan import Outcome

SHORT = 2.0

WARM_UP = 1.5
"""Seconds. For a second after connecting, a client may be about to flood and is read in turn with the others."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line; None and 0 leave the choice to the scenario.

    `short`: measure for `SHORT` seconds at most, for comparisons in many rounds.
    """

    seconds: float | None = None
    rounds: int = 3
    quick: bool = False
    connections: int = 0
    window: int = 4
    short: bool = False

    def span(self, usual: float, quick: float) -> float:
        """Return how many seconds to measure."""
        if self.seconds is not None:
            return self.seconds
        return quick if self.quick else min(usual, SHORT) if self.short else usual

    @property
    def warm_up(self) -> float:
        """How many seconds of load to let pass before measuring."""
        return 0.5 if self.quick else WARM_UP

    def count(self, usual: int, quick: int) -> int:
        """Return how many connections to use."""
        return max(2, self.connections or (quick if self.quick else usual))


class Measurement(ABC):
    """A question to measure. Costs are per `operation`; each of the `variants` is measured separately."""

    name: str
    operation: str
    command: str = ""
    """The command that runs it, if that is not its name."""

    processes: int = 1
    """Processes of the server; if more than one, they share a Redis-protocol server."""

    variants: tuple[str, ...] = ("",)
    columns: tuple[str, ...] = (
        *("cpu_us", "throughput", "latency_p50_us", "latency_p95_us", "latency_p99_us", "latency_max_us"),
        *("latency_count", "rss_mib"),
    )
    """The columns of its table, by the names of `bench.figures`."""

    @property
    def question(self) -> str:
        """The first paragraph of its module's docstring."""
        return " ".join((sys.modules[type(self).__module__].__doc__ or "").partition("\n\n")[0].split())

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """Return why a contender cannot take part, or None."""
        return None

    @abstractmethod
    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """Measure once, on a fresh server. Raises `LoadError` or `ContenderError`."""


class Scenario(Measurement):
    """A measurement whose load is made by a process of its own."""

    @abstractmethod
    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """Return what the load process is to do."""

    @abstractmethod
    async def load(self, plan: Plan) -> Outcome:
        """Make the load and measure; runs in the load process."""

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """See `Measurement`."""
        with contender.serve() as server:
            return self.carry_out(server, self.plan(server, variant, options))

    def carry_out(self, server: Server, plan: Plan) -> Outcome:
        """Run the load process. Raises `LoadError`, with the end of the server's output."""
        try:
            return run_load(plan)
        except LoadError as error:
            said = server.said()
            raise LoadError(f"{error}; {server.contender.name} says: {said}" if said else str(error)) from None

    def _plan(self, server: Server, variant: str, **fields: Any) -> Plan:
        fields = {"dialect": server.contender.dialect} | fields
        return Plan(scenario=self.name, url=server.url, server=server.pid, variant=variant, **fields)
