"""The scenarios, one module each. The first paragraph of its docstring is the question that a scenario answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scenarios.broadcast import Broadcast
from bench.scenarios.churn import Churn
from bench.scenarios.idle import Idle
from bench.scenarios.isolation import Isolation
from bench.scenarios.mesh import Meshes
from bench.scenarios.mesh_sizes import MeshSizes
from bench.scenarios.rates import FixedRates
from bench.scenarios.relay import Relay
from bench.scenarios.span import Span
from bench.scenarios.storm import Storm

if TYPE_CHECKING:
    from bench.scenarios.scenario import Scenario

SIGNALING: tuple[Scenario, ...] = (MeshSizes(), FixedRates())
"""Those of the command `signaling` that have a load process."""

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (Relay(), Span(), Broadcast(), Meshes(), Storm(), Idle(), Churn(), Isolation(), *SIGNALING)
}
"""The scenarios by name, in the order in which `all` runs them."""
