"""The command `signaling`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine, plots, report
from bench.results import Results
from bench.scenarios.scenario import Options
from bench.signaling import table
from bench.signaling.contenders import CONTENDERS
from bench.signaling.scenarios import SCENARIOS
from bench.tour import Tour

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from bench.contender import Contender

RESULTS = Path(__file__).parent.parent / "results"
QUICK = ("mcp_actors", "peerjs", "socketio-redis")
QUICK_VARIANTS = {"signaling-mesh": ("8",), "signaling-rate": ("200",), "signaling-faults": ("cut",)}
"""The contenders, and the variants of each scenario, with --quick."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    text = f"contenders, separated by commas (default: all: {', '.join(CONTENDERS)}; with --quick {', '.join(QUICK)})"
    add("--only", type=lambda text: text.split(","), metavar="CONTENDERS", help=text)
    add("--scenario", choices=tuple(SCENARIOS), action="append", help="may be repeated (default: all)")
    add("--rounds", type=int, default=1, metavar="N", help="measurements of each contender, interleaved (default: 1)")
    add("--seconds", type=float, metavar="N", help="length of each measurement (default: set by the scenario)")
    add("--quick", action="store_true", help="short and small, to see that it works; not for figures")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def signaling(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the scenarios. Return 0, or 1 if a contender is unknown or something failed."""
    names = chosen.only or (QUICK if chosen.quick else tuple(CONTENDERS))
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        say(f"--only: {', '.join(unknown)}: no such contender; contenders are {', '.join(CONTENDERS)}")
        return 1
    asked = {"command": "signaling", "quick": chosen.quick, "rounds": chosen.rounds}
    results = Results(machine.describe(), asked)
    say(machine.summary(results.machine))
    _measure(chosen, [CONTENDERS[name] for name in names], results, say)
    _write(results, chosen.out / "signaling", say)
    return 1 if results.failures else 0


def _measure(
    chosen: argparse.Namespace, contenders: list[Contender], results: Results, say: Callable[[str], None]
) -> None:
    options = Options(seconds=chosen.seconds, rounds=chosen.rounds, quick=chosen.quick)
    tour = Tour(contenders, options, results, say)
    for name in chosen.scenario or SCENARIOS:
        tour.run(SCENARIOS[name], QUICK_VARIANTS[name] if chosen.quick else ())


def _write(results: Results, directory: Path, say: Callable[[str], None]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    results.write(directory / "results.json")
    text = "\n".join(_lines(results))
    (directory / "report.txt").write_text(text + "\n")
    try:
        drawn = plots.draw(results, directory)
    except ImportError:
        say("no plots: matplotlib is not installed: pip install -e '.[bench]'")
        drawn = []
    written = ", ".join(("results.json", "report.txt", *(path.name for path in drawn)))
    say(f"\n{text}\n\nwritten to {directory}: {written}")


def _lines(results: Results) -> Iterator[str]:
    yield from table.lines(results)
    yield ""
    yield from report.lines(results, SCENARIOS)
    yield ""
    yield "versions: " + ", ".join(f"{name} {version}" for name, version in results.machine["versions"].items())
