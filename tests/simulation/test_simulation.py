from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.plan import KINDS, Plan, Strike, draw
from tests.simulation.run import Outcome
from tests.simulation.shrink import shrink

if TYPE_CHECKING:
    from tests.simulation.mutants import Mutant

ROOT = Path(__file__).parents[2]
LONGEST = 580


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.simulation`, in a process of its own as it takes over the clock of its interpreter."""
    line = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False)


def test_fixed_seeds_and_those_that_once_failed_keep_every_promise() -> None:
    done = command("--fixed", "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_gives_the_same_run_in_every_process() -> None:
    first, second = (command("--seed", "8") for _ in range(2))
    digests = [re.findall(r"\(([0-9a-f]{16})\)", done.stdout) for done in (first, second)]
    assert len(digests[0]) == 1
    assert digests[0] == digests[1]
    assert first.stdout.splitlines()[:-1] == second.stdout.splitlines()[:-1]


def test_a_known_fault_that_is_put_back_is_caught() -> None:
    done = command("--mutants", "frames are not deduplicated", "--budget", "10")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_model_refuses_a_run_in_which_a_late_record_takes_a_session_back() -> None:
    done = command("--mutants", "a late session record wins", "--budget", "5")
    assert "refused by the model" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_known_fault_still_has_its_place(mutant: Mutant) -> None:
    with applied(mutant):
        pass


def test_plans_of_different_seeds_use_all_kinds_of_faults() -> None:
    assert {strike.kind for seed in range(200) for strike in draw(seed).strikes} == KINDS.keys()
    assert draw(1) == draw(1)


def outcome_of(plan: Plan) -> Outcome:
    """A run that fails exactly if a node is killed after Redis was."""
    kinds = [strike.kind for strike in plan.strikes]
    fails = "redis killed" in kinds and "kill" in kinds[kinds.index("redis killed") :]
    return Outcome(plan, {"lost": ["a message"]} if fails else {}, [], "", 0.0, 0.0, 0)


def test_shrinking_leaves_the_faults_that_are_needed() -> None:
    kinds = ("pause", "redis killed", "links cut", "part", "kill", "pause", "stop")
    plan = replace(draw(1), strikes=tuple(Strike(float(at), kind) for at, kind in enumerate(kinds)))
    smallest = shrink(outcome_of(plan), lambda _text: None, outcome_of).plan
    assert [strike.kind for strike in smallest.strikes] == ["redis killed", "kill"]
    assert (smallest.churners, smallest.movers) == (0, 0)
