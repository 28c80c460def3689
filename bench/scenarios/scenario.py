"""What a scenario is: a plan for the load process, and the load itself."""

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


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. None and 0 leave a choice to the scenario."""

    seconds: float | None = None
    rounds: int = 3
    quick: bool = False
    connections: int = 0
    window: int = 4

    def span(self, usual: float, quick: float) -> float:
        """Seconds to measure."""
        return self.seconds if self.seconds is not None else quick if self.quick else usual

    def count(self, usual: int, quick: int) -> int:
        """Connections."""
        return max(2, self.connections or (quick if self.quick else usual))


class Scenario(ABC):
    """One question. `operation` is what costs are given per; each of the `variants` is measured by itself."""

    name: str
    operation: str
    command: str = ""
    """The command that runs it, where that is not its name."""

    processes: int = 1
    """Of the server; with more than one, on a Redis-protocol server that they share."""

    variants: tuple[str, ...] = ("",)
    columns: tuple[str, ...] = (
        *("cpu_us", "throughput", "latency_p50_us", "latency_p95_us", "latency_p99_us", "latency_max_us"),
        *("latency_count", "rss_mib"),
    )
    """What the table shows of it, by the names of `bench.figures`."""

    @property
    def question(self) -> str:
        """The first paragraph of its module."""
        return " ".join((sys.modules[type(self).__module__].__doc__ or "").partition("\n\n")[0].split())

    def unfit(self, contender: Contender, variant: str) -> str | None:
        """Why a contender takes no part."""
        return None

    @abstractmethod
    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        """What the load process is to do."""

    @abstractmethod
    async def load(self, plan: Plan) -> Outcome:
        """Do it; runs in the load process."""

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        """Measure once, on a server started for it. Raises `LoadError` or `ContenderError`."""
        with contender.serve() as server:
            return self.carry_out(server, self.plan(server, variant, options))

    def carry_out(self, server: Server, plan: Plan) -> Outcome:
        """Run the load process. Raises `LoadError`, with what the server had to say."""
        try:
            return run_load(plan)
        except LoadError as error:
            said = server.said()
            raise LoadError(f"{error}; {server.contender.name} says: {said}" if said else str(error)) from None

    def _plan(self, server: Server, variant: str, **fields: Any) -> Plan:
        fields = {"dialect": server.contender.dialect} | fields
        return Plan(scenario=self.name, url=server.url, server=server.pid, variant=variant, **fields)
