from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contender import Contender
from bench.plan import Outcome
from bench.results import Results
from bench.runner import LoadError
from bench.scenarios.scenario import Options, Scenario
from bench.tour import Tour

if TYPE_CHECKING:
    from bench.contender import Server
    from bench.plan import Plan


class Recorded(Scenario):
    """Records the order of contenders; the contender `broken` fails in its second round."""

    name = "recorded"
    operation = "nothing"

    def __init__(self) -> None:
        self.order: list[str] = []

    def plan(self, server: Server, variant: str, options: Options) -> Plan:
        raise AssertionError("measure() asks for no plan")

    async def load(self, plan: Plan) -> Outcome:
        raise AssertionError("measure() loads nothing")

    def measure(self, contender: Contender, variant: str, options: Options) -> Outcome:
        self.order.append(contender.name)
        if contender.name == "broken" and self.order.count("broken") == 2:
            raise LoadError("startup failed")
        return Outcome(operations=1, seconds=1, cpu_ns=1000, rss_bytes=1)


def run(rounds: int, *names: str) -> tuple[list[str], Results]:
    results, scenario = Results({}, {}), Recorded()
    contenders = [Contender(name, "", lambda _port: []) for name in names]
    Tour(contenders, Options(rounds=rounds), results, lambda _line: None).run(scenario)
    return scenario.order, results


def test_the_order_of_contenders_is_reversed_every_other_round() -> None:
    order, _ = run(3, "a", "b")
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_a_contender_that_fails_is_not_measured_again() -> None:
    order, results = run(4, "a", "broken")
    assert order == ["a", "broken", "broken", "a", "a", "a"]
    assert [len(one.outcomes) for one in results.measured] == [4, 1]
    assert results.failures == ["recorded of broken: startup failed"]
