"""The command line of the bench suite."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cluster_command, machine, plots, report
from bench.attack import command as attack_command
from bench.chaos import command as chaos_command
from bench.goals import judge
from bench.peers import OURS, OURS_SPANNING, PEERS, SPANNING
from bench.results import Results
from bench.runner import more_files
from bench.scenarios import SCENARIOS
from bench.scenarios.relay import Relay
from bench.scenarios.scenario import Options
from bench.soak import command as soak_command
from bench.spanning import PROCESSES
from bench.tour import Tour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contender import Contender
    from bench.scenarios.scenario import Scenario

RESULTS = Path(__file__).parent / "results"
EPILOG = """\
Try it:
  python -m bench relay --against tornado,ws        what a relayed signal costs, beside two others
  python -m bench relay --against all --rate 10,50,90   ... and how latency grows with the load
  python -m bench relay --processes 2 --against all     ... and between two processes that share a Redis server
  python -m bench idle                              memory and heartbeat of a connection that waits
  python -m bench micro                             what each layer takes, to blame a slow scenario
  python -m bench chaos                             cuts, kills and freezes, and counts what is lost: nothing
  python -m bench chaos --against control           ... and that a relay on pub/sub does lose messages
  python -m bench soak                              ... all of it for ten minutes, and what memory it takes
  python -m bench attack                            hostile clients of a dozen kinds, beside a call that goes on
  python -m bench cluster                           three processes, to open in a browser
  python -m bench all --quick                       a tour in a few minutes, to see that all works
  python -m bench all --against all --check         all of these; fails if a goal is missed

Contenders for --against:
{contenders}

Contenders for --against of relay --processes 2, beside ours in one process:
{spanning}

Each server runs in its own process on 127.0.0.1, the load in another. CPU is the kernel's accounting of the server's
threads; numbers are medians over the rounds. Close what else runs, and let the machine have two idle cores or more.
"""

FAILURE, INTERRUPTED, ENDED = 1, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0, or 1 if something failed, or with --check if a goal was missed."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command == "chaos":
        more_files()
        return chaos_command.chaos(chosen, _say)
    if chosen.command == "soak":
        more_files()
        return soak_command.soak(chosen, _say)
    if chosen.command == "attack":
        more_files()
        return attack_command.attack(chosen, _say)
    if chosen.command == "cluster":
        return cluster_command.cluster(chosen, _say)
    if chosen.command == "micro":
        from bench.micro import micro_lines  # noqa: PLC0415 - imports the server

        for line in micro_lines(quick=chosen.quick):
            _say(line)
        return 0
    contenders = _contenders(parser, chosen)
    more_files()
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    options = Options(chosen.seconds, rounds, chosen.quick, chosen.connections, chosen.window)
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


def _contenders(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> list[Contender]:
    ours, peers = ([OURS], PEERS) if chosen.processes == 1 else ([*OURS_SPANNING], SPANNING)
    names = list(peers) if chosen.against == ["all"] else chosen.against
    unknown = [name for name in names if name not in peers]
    if unknown:
        parser.error(f"--against: {', '.join(unknown)}: not known here; there are {', '.join(peers)}, and all")
    return [*ours, *(peers[name] for name in names)]


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


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _shares(text: str) -> list[int]:
    shares = [int(share) for share in text.split(",")]
    if not all(0 < share < 100 for share in shares):  # noqa: PLR2004 - percent
        raise argparse.ArgumentTypeError("percentages between 1 and 99, such as 10,50,90")
    return shares


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What mcp_actors costs, beside other servers that do the same.",
        epilog=EPILOG.format(contenders=_listed(PEERS), spanning=_listed(SPANNING)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="SCENARIO", required=True)
    for name, scenario in SCENARIOS.items():
        if scenario.command:
            continue
        _arguments(commands.add_parser(name, help=scenario.question, description=scenario.question), name)
    _arguments(commands.add_parser("all", help="all of them, with servers of one process"), "all")
    micro = commands.add_parser("micro", help="what each layer of the server takes by itself")
    micro.add_argument("--quick", action="store_true", help="less exact")
    chaos_command.add_arguments(
        commands.add_parser("chaos", help="which promises hold between processes while things break")
    )
    soak_command.add_arguments(
        commands.add_parser("soak", help="whether they hold for long, and memory stays what it was")
    )
    attack_command.add_arguments(
        commands.add_parser("attack", help="whether others notice what hostile clients do, and what memory it takes")
    )
    cluster_command.add_arguments(commands.add_parser("cluster", help="rooms that span processes, to try in a browser"))
    return parser


def _listed(peers: dict[str, Contender]) -> str:
    return "\n".join(f"  {name:<16}{peer.about}" for name, peer in peers.items())


def _arguments(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--against", type=_names, default=[], metavar="NAMES", help="contenders, by commas, or all (default: none)"
    )
    parser.add_argument("--seconds", type=float, help="how long each measurement lasts (default: the scenario's own)")
    parser.add_argument("--rounds", type=int, help="measurements of each, interleaved (default: 3; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="short and small: to see that it works, not to quote")
    parser.add_argument("--window", type=int, default=4, metavar="N", help="messages in flight per pair (default: 4)")
    parser.add_argument("--connections", type=int, default=0, metavar="N", help="instead of the scenario's own number")
    parser.set_defaults(rate=None, processes=1)
    if name in ("relay", "all"):
        text = "relay at such percentages of the full throughput too, for latency against load; such as 10,50,90"
        parser.add_argument("--rate", type=_shares, metavar="PERCENTAGES", help=text)
    if name == "relay":
        text = "with 2, the peers of a pair are at two processes, which share a Redis server (default: 1)"
        parser.add_argument("--processes", type=int, choices=(1, PROCESSES), default=1, help=text)
    parser.add_argument("--check", action="store_true", help="fail if a goal is missed")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))  # so that servers are stopped on the way out
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
