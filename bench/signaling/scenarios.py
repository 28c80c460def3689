"""The scenarios of the command `signaling`, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.scenarios import SIGNALING
from bench.signaling.trial import Faults

if TYPE_CHECKING:
    from bench.scenarios.scenario import Measurement

SCENARIOS: dict[str, Measurement] = {scenario.name: scenario for scenario in (*SIGNALING, Faults())}
