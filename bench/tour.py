"""Run scenarios over contenders in interleaved rounds, and report progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.contender import ContenderError
from bench.engine import EngineError
from bench.figures import COUNTS
from bench.results import LoadPoint, Measured, Results
from bench.runner import LoadError, run_load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contender import Contender
    from bench.plan import Outcome
    from bench.scenarios.relay import Relay
    from bench.scenarios.scenario import Measurement, Options

SATURATED = 0.95
"""Share of a core above which the load process may limit throughput; costs per message stay valid."""


class Tour:
    """A run of the suite over contenders, ours among them."""

    def __init__(
        self, contenders: Sequence[Contender], options: Options, results: Results, say: Callable[[str], None]
    ) -> None:
        self._options = options
        self._results = results
        self._say = say
        self._contenders = [contender for contender in contenders if self._present(contender)]

    def _present(self, contender: Contender) -> bool:
        reason = contender.missing()
        if reason:
            self._say(f"{contender.name} is skipped: {reason}")
            self._results.measured.append(Measured("", "", contender.name, skipped=reason))
        return not reason

    def run(self, scenario: Measurement, variants: Sequence[str] = ()) -> None:
        """Measure all variants, or only some.

        Every round measures each contender once, and every other round in reverse order. So all contenders share a
        noisy minute, and none profits from its place in the order.
        """
        self._say(f"\n{scenario.name}: {scenario.question}")
        for variant in variants or scenario.variants:
            entries = [(contender, self._entry(scenario, variant, contender)) for contender in self._contenders]
            for number in range(1, self._options.rounds + 1):
                for contender, entry in entries if number % 2 else reversed(entries):
                    if not entry.skipped and not entry.failed:
                        self._round(scenario, contender, entry, number)

    def _entry(self, scenario: Measurement, variant: str, contender: Contender) -> Measured:
        entry = Measured(scenario.name, variant, contender.name, skipped=scenario.unfit(contender, variant) or "")
        self._results.measured.append(entry)
        return entry

    def _round(self, scenario: Measurement, contender: Contender, entry: Measured, number: int) -> None:
        label = f"{scenario.name} {entry.variant}".strip()
        what = f"  {label:<22} round {number}/{self._options.rounds}  {contender.name:<18}"
        began = time.monotonic()
        try:
            outcome = scenario.measure(contender, entry.variant, self._options)
        except (LoadError, ContenderError, EngineError) as error:
            entry.failed = str(error)
            self._results.failures.append(f"{label} of {contender.name}: {error}")
            self._say(f"{what} FAILED: {error}")
            return
        entry.outcomes.append(outcome)
        self._say(f"{what} {_brief(outcome, scenario.operation)}  ({time.monotonic() - began:.0f} s)")

    def sweep(self, relay: Relay, shares: Sequence[int]) -> None:
        """Relay candidates at the given percentages of each contender's throughput in the closed loop."""
        self._say(
            f"\n{relay.name} under load: how latency grows with the load, in percent of the closed loop's throughput."
        )
        for share in shares:
            for contender in self._contenders:
                full = self._results.figure(relay.name, "candidate", contender.name, "throughput")
                if full is not None:
                    self._load_point(relay, contender, share, full.median * share / 100)

    def _load_point(self, relay: Relay, contender: Contender, share: int, rate: float) -> None:
        what = f"  {share:3d} % = {rate:7.0f}/s  {contender.name:<18}"
        try:
            with contender.serve() as server:
                outcome = run_load(relay.plan(server, "candidate", self._options, rate))
        except (LoadError, ContenderError, EngineError) as error:
            self._results.failures.append(f"{relay.name} at {share} % of {contender.name}: {error}")
            self._say(f"{what} FAILED: {error}")
            return
        self._results.load_points.append(LoadPoint(contender.name, share, rate, outcome))
        self._say(f"{what} p50 {outcome.latency.p50:.0f} us, p99 {outcome.latency.p99:.0f} us")


def _brief(outcome: Outcome, operation: str) -> str:
    said = []
    if outcome.operations:
        said += [f"{outcome.cpu_us:8.1f} us of CPU per {operation}", f"{outcome.throughput:.0f}/s"]
    if "redis_cpu_us" in outcome.extra:
        said.append(f"Redis {outcome.extra['redis_cpu_us']:.1f} us, {outcome.extra['redis_commands']:.2f} commands")
    if outcome.latency.count:
        said.append(f"p99 {outcome.latency.p99 / 1000:.2f} ms")
    if "bytes_per_connection" in outcome.extra:
        said.append(f"{outcome.extra['bytes_per_connection'] / 1024:.1f} KiB per connection")
    said += [f"{outcome.extra[name]:.0f} {name}" for name in COUNTS if outcome.extra.get(name)]
    if outcome.load_busy > SATURATED:
        said.append(f"the load process took {outcome.load_busy:.0%} of a core")
    return ", ".join(said)
