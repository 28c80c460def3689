"""The command line of the bench suite."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench import capacity_command, cluster_command, machine, plots, report
from bench.arguments import ROUNDS, ROUNDS_WITH_CHECKOUT, argument_parser
from bench.attack import command as attack_command
from bench.chaos import command as chaos_command
from bench.checkout import Checkout, CheckoutError, checked_out, find_checkout
from bench.goals import judge
from bench.heal import command as heal_command
from bench.peers import OURS, OURS_SPANNING, PEERS, SPANNING
from bench.results import Results
from bench.runner import more_files
from bench.scale import command as scale_command
from bench.scenarios import SCENARIOS
from bench.scenarios.relay import Relay
from bench.scenarios.scenario import Options
from bench.signaling import command as signaling_command
from bench.soak import command as soak_command
from bench.spanning import spanning
from bench.tour import Tour

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from bench.contender import Contender
    from bench.scenarios.scenario import Scenario

FAILURE, INTERRUPTED, ENDED = 1, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Return 0, or 1 if something failed or, with --check, a goal was missed."""
    parser = argument_parser()
    chosen = parser.parse_args(arguments)
    if chosen.command == "micro":
        return _micro(chosen)
    if chosen.command == "cluster":
        return cluster_command.cluster(chosen, _say)
    more_files()
    if chosen.command in OTHERS:
        return OTHERS[chosen.command](chosen, _say)
    named = _against(parser, chosen)
    with ExitStack() as stack:
        try:
            contenders = _ours(chosen) + [_entered(one, chosen, stack) for one in named]
        except CheckoutError as error:
            parser.error(f"--against: {error}")
        return _measure(contenders, _options(chosen, named), chosen)


OTHERS = {
    "capacity": capacity_command.capacity,
    "chaos": chaos_command.chaos,
    "soak": soak_command.soak,
    "attack": attack_command.attack,
    "heal": heal_command.heal,
    "signaling": signaling_command.signaling,
    "scale": scale_command.scale,
}


def _micro(chosen: argparse.Namespace) -> int:
    from bench.micro import micro_lines  # noqa: PLC0415 - imports the server

    for line in micro_lines(quick=chosen.quick):
        _say(line)
    return 0


def _measure(contenders: list[Contender], options: Options, chosen: argparse.Namespace) -> int:
    asked = {"command": chosen.command, "processes": chosen.processes, "quick": chosen.quick, "rounds": options.rounds}
    results = Results(machine.describe(), asked)
    _say(machine.summary(results.machine))
    tour = Tour(contenders, options, results, _say)
    scenarios = [scenario for scenario in SCENARIOS.values() if _asked_for(scenario, chosen)]
    for scenario in scenarios:
        tour.run(scenario)
        if isinstance(scenario, Relay):
            _sweep(tour, scenario, chosen)
    _finish(results, chosen.out / (chosen.command if chosen.command == "all" else scenarios[0].name))
    missed = any(value > goal.most for goal, value in judge(results))
    return FAILURE if results.failures or (chosen.check and missed) else 0


def _asked_for(scenario: Scenario, chosen: argparse.Namespace) -> bool:
    return chosen.command in ("all", scenario.command or scenario.name) and scenario.processes == chosen.processes


def _options(chosen: argparse.Namespace, named: list[Contender | Checkout]) -> Options:
    short = any(isinstance(one, Checkout) for one in named)
    rounds = chosen.rounds or (1 if chosen.quick else ROUNDS_WITH_CHECKOUT if short else ROUNDS)
    return Options(chosen.seconds, rounds, chosen.quick, chosen.connections, chosen.window, short)


def _ours(chosen: argparse.Namespace) -> list[Contender]:
    return [OURS] if chosen.processes == 1 else [*OURS_SPANNING]


def _against(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> list[Contender | Checkout]:
    peers = PEERS if chosen.processes == 1 else SPANNING
    names = [name for text in chosen.against for name in (peers if text == "all" else [text])]
    found = {name: peers.get(name) or find_checkout(name) for name in names}
    unknown = [name for name, one in found.items() if one is None]
    if unknown:
        parser.error(
            f"--against: {', '.join(unknown)}: no such contender, commit or directory with mcp_actors/; "
            f"contenders are {', '.join(peers)}, and all"
        )
    named = {one.name: one for one in found.values() if one}
    if len(named) < len(found):
        parser.error(f"--against: {', '.join(found)}: two of these have the same name")
    return list(named.values())


def _entered(one: Contender | Checkout, chosen: argparse.Namespace, stack: ExitStack) -> Contender:
    """Return a contender; that of a commit exists until the stack is closed. Raises `CheckoutError`."""
    if not isinstance(one, Checkout):
        return one
    contender = stack.enter_context(checked_out(one))
    if contender.environment != OURS.environment:
        _say(f"{one.name} is measured with the settings/bench.env of its own, which differs from this checkout's")
    return contender if chosen.processes == 1 else spanning(contender)


def _sweep(tour: Tour, relay: Relay, chosen: argparse.Namespace) -> None:
    shares = chosen.rate
    if shares is None and chosen.command == "all":
        shares = (20, 50, 80) if chosen.quick else range(10, 100, 10)
    if shares:
        tour.sweep(relay, shares)


def _finish(results: Results, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    results.write(directory / "results.json")
    text = "\n".join(report.lines(results, SCENARIOS))
    (directory / "report.txt").write_text(text + "\n")
    _say("\n" + text)
    try:
        drawn = plots.draw(results, directory)
    except ImportError:
        _say("\nno plots: matplotlib is not installed: pip install -e '.[bench]'")
        drawn = []
    _say(f"\nwritten to {directory}: " + ", ".join(("results.json", "report.txt", *(path.name for path in drawn))))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))  # unwinds the stack, which stops servers
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
