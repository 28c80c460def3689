"""The command `python -m tests.simulation`: replays a seed, or runs many.

python -m tests.simulation --seed 42              replay a seed, and print what happened
python -m tests.simulation --seed 42 --shrink     and find a smaller plan that fails likewise
python -m tests.simulation --seed 42 --trace p1   and print the messages of a member
python -m tests.simulation --seeds 1000           run seeds until one fails; the first is --seed, or drawn
python -m tests.simulation --hours 8              run fresh seeds for so long
python -m tests.simulation --fixed --seconds 60   run the seeds that the tests repeat, then fresh ones
python -m tests.simulation --mutants              put known faults back, and see which are caught
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import count, islice, repeat, takewhile
from random import SystemRandom
from typing import TYPE_CHECKING

from tests.simulation.plan import ERAS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.run import Outcome

SHOWN = 8
"""Breaches that are shown of each kind."""


def main() -> int:
    """Run the command; 1 if a promise was broken."""
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a run
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606
    if options.mutants is not None:
        from tests.simulation.mutants import hunt  # noqa: PLC0415 - they are many modules

        return hunt(options.mutants, options.budget, print)
    if options.seeds == 1 and not options.fixed and not options.hours and not options.seconds:
        return _replay(options)
    return _run_many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulates the cluster.")
    parser.add_argument("--seed", type=int, help="the seed, or the first of several; drawn if it is left out")
    parser.add_argument("--era", type=int, default=len(ERAS), help="1 for the kinds of faults that there were first")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, one after the other")
    parser.add_argument("--seconds", type=float, default=0.0, help="run seeds for so long")
    parser.add_argument("--hours", type=float, default=0.0, help="run seeds for so long")
    parser.add_argument(
        "--fixed", action="store_true", help="run the seeds that the tests repeat, and those that once failed"
    )
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("--trace", default="", help="members whose messages are shown, separated by commas")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller plan that fails likewise")
    parser.add_argument("--webhooks", action="store_true", help="have the nodes report to a receiver, too")
    parser.add_argument("--mutants", nargs="*", help="put known faults back: all, or those that are named")
    parser.add_argument("--budget", type=int, default=60, help="seeds that are run to catch a mutant")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = SystemRandom().randrange(1_000_000_000)
    return options


def _replay(options: argparse.Namespace) -> int:
    from tests.simulation.run import run_seed  # noqa: PLC0415 - after the hash seed is set
    from tests.simulation.shrink import shrink  # noqa: PLC0415

    trace = tuple(filter(None, options.trace.split(",")))
    outcome = run_seed(options.seed, trace, options.era, webhooks=options.webhooks)
    if options.shrink and not outcome.kept:
        outcome = shrink(outcome, print)
    _show(outcome)
    return 0 if outcome.kept else 1


def _seeds(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """The seeds to run, each with its era."""
    from tests.simulation.entropy import real_time  # noqa: PLC0415 - after the hash seed is set
    from tests.simulation.seeds import FIXED, KEPT, REPORTED  # noqa: PLC0415

    began, limit = real_time(), options.seconds or 3600 * options.hours
    if options.fixed:
        yield from REPORTED if options.webhooks else (*FIXED, *KEPT)
    fresh = zip(count(options.seed), repeat(options.era))
    if limit:
        yield from takewhile(lambda _: real_time() - began < limit, fresh)
    elif not options.fixed:
        yield from islice(fresh, options.seeds)


def _run_many(options: argparse.Namespace) -> int:
    from tests.simulation.entropy import real_time  # noqa: PLC0415 - after the hash seed is set
    from tests.simulation.run import run_seed  # noqa: PLC0415

    began, ran, failed, simulated = real_time(), 0, 0, 0.0
    for seed, era in _seeds(options):
        outcome = run_seed(seed, era=era, webhooks=options.webhooks)
        ran, simulated = ran + 1, simulated + outcome.simulated
        if not outcome.kept:
            failed += 1
            print(_line(outcome), flush=True)
            if not options.keep_going:
                _show(outcome)
                break
    took = real_time() - began
    which = "fixed seeds, and others" if options.fixed else "seeds"
    print(
        f"{ran} {which} from {options.seed} on, {failed} failed; {simulated / 60:.0f} simulated minutes in {took:.0f} s"
    )
    return 1 if failed else 0


def _line(outcome: Outcome) -> str:
    found = ", ".join(f"{len(lines)} {name}" for name, lines in outcome.breaches.items()) or "kept"
    return f"seed {outcome.plan.seed}: {found} ({outcome.digest})"


def _show(outcome: Outcome) -> None:
    print("\n".join(outcome.timeline))
    print(f"{_line(outcome)}; {outcome.judged} messages judged, {outcome.simulated:.0f} s in {outcome.took:.2f} s")
    for name, lines in outcome.breaches.items():
        print("\n".join(f"  {name}: {line}" for line in lines[:SHOWN]))
    if not outcome.kept:
        plan = outcome.plan
        print(f"plan: {plan}\nreplay: python -m tests.simulation --seed {plan.seed} --era {plan.era}")


if __name__ == "__main__":
    sys.exit(main())
