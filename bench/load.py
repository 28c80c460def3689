"""The load process: `python -m bench.load` reads a plan from standard input and prints the outcome."""

from __future__ import annotations

import sys

import msgspec
import uvloop

from bench.plan import PlanError, read_plan
from bench.runner import LoadError, more_files
from bench.scenarios import SCENARIOS


def main() -> int:
    """Read a plan, carry it out and print the outcome. On failure, print a line to standard error and return 1."""
    more_files()
    try:
        plan = read_plan(sys.stdin.buffer.read())
        outcome = uvloop.run(SCENARIOS[plan.scenario].load(plan))
    except (LoadError, PlanError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
