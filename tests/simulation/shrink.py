"""Makes a failing plan smaller: fewer faults, clients and messages, as long as it still breaks the same promise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.plan import Plan
    from tests.simulation.run import Outcome

FEWEST_PEERS, LOWEST_RATE = 2, 1.0


def shrink(outcome: Outcome, tell: Callable[[str], None], rerun: Callable[[Plan], Outcome] = run) -> Outcome:
    """Return the outcome of the smallest plan found that breaks one of the same promises."""
    promises = set(outcome.breaches)
    best, improved = outcome, True
    while improved:
        improved = False
        for plan in _smaller(best.plan):
            found = rerun(plan)
            if promises & set(found.breaches):
                best, improved = found, True
                tell(f"{len(plan.strikes)} strikes, {plan.peers} peers, {plan.seconds:g} s")
                break
    return best


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with less in them, those with much less first."""
    count = len(plan.strikes)
    size = count // 2
    while size:
        for start in range(0, count, size):
            yield replace(plan, strikes=plan.strikes[:start] + plan.strikes[start + size :])
        size //= 2
    if plan.movers or plan.churners:
        yield replace(plan, movers=0, churners=0)
        yield replace(plan, movers=0)
        yield replace(plan, churners=0)
    if plan.peers > FEWEST_PEERS:
        yield replace(plan, peers=FEWEST_PEERS)
    if plan.rate > LOWEST_RATE:
        yield replace(plan, rate=LOWEST_RATE)
    last = max((strike.at for strike in plan.strikes), default=0.0)
    if last + 3 < plan.seconds - 1:
        yield replace(plan, seconds=round(last + 3, 3))
