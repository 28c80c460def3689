"""The command `chaos`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import machine
from bench.chaos import report
from bench.chaos.faults import CONTROL_FAULTS, FAULTS
from bench.chaos.run import Options, run
from bench.engine import FLAVORS, missing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bench.chaos.verdict import Verdict

RESULTS = Path(__file__).parent.parent / "results"
QUICK_SECONDS = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--fault", choices=["all", *FAULTS], default="all", metavar="NAME", help=f"all (default), {', '.join(FAULTS)}")
    add("--seconds", type=float, help="length of a fault (default: set by the fault)")
    add("--seed", type=int, default=1, metavar="N", help="seed of all random choices (default: 1)")
    add("--processes", type=int, metavar="N", help="number of nodes (default: 4; with --quick 2)")
    add("--rooms", type=int, metavar="N", help="number of rooms (default: 3; with --quick 2)")
    add("--peers", type=int, metavar="N", help="resident peers in all rooms together (default: 24; with --quick 8)")
    add(
        "--rate",
        type=float,
        default=400.0,
        metavar="N",
        help="messages per second of all peers together (default: 400)",
    )
    add("--engine", choices=FLAVORS, default="valkey", help="Redis-protocol server (default: valkey)")
    add(
        "--against",
        choices=["control"],
        help="run the negative control instead of this server: a relay on pub/sub, which must fail",
    )
    add("--quick", action="store_true", help="short and small, to see that it works")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def chaos(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the faults. Return 0, or 1 if a promise was broken, or if the control broke none."""
    reason = missing(chosen.engine)
    if reason is not None:
        say(reason)
        return 1
    options, control = _options(chosen), chosen.against == "control"
    names = (CONTROL_FAULTS if control else tuple(FAULTS)) if chosen.fault == "all" else (chosen.fault,)
    directory = chosen.out / ("chaos-control" if control else "chaos")
    where = machine.describe()
    say(machine.summary(where))
    verdicts = []
    for name in names:
        say(f"{name}: {FAULTS[name].about}")
        verdicts.append(run(FAULTS[name], options, directory / name))
    text = "\n".join([machine.summary(where), _setting(options), *report.lines(verdicts, control=control)])
    _write(directory, where, options, verdicts, text)
    say(f"\n{text}\n\nwritten to {directory}: results.json, report.txt; records and logs of the nodes in folders")
    return 0 if all(report.passed(verdict, control=control) for verdict in verdicts) else 1


def _options(chosen: argparse.Namespace) -> Options:
    quick = chosen.quick
    return Options(
        seconds=QUICK_SECONDS if quick and chosen.seconds is None else chosen.seconds,
        seed=chosen.seed,
        processes=chosen.processes or (2 if quick else 4),
        rooms=chosen.rooms or (2 if quick else 3),
        peers=chosen.peers or (8 if quick else 24),
        rate=chosen.rate,
        flavor=chosen.engine,
        control=chosen.against == "control",
    )


def _setting(options: Options) -> str:
    subject = "the control, a relay on pub/sub" if options.control else "mcp_actors"
    return (
        f"{subject}: {options.processes} nodes on {options.flavor}, lease {options.lease:g} s, {options.peers} peers "
        f"in {options.rooms} rooms, {options.rate:g} messages/s, seed {options.seed}"
    )


def _write(directory: Path, where: dict[str, object], options: Options, verdicts: list[Verdict], text: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    tree = {"machine": where, "options": options, "verdicts": verdicts}
    encoded = msgspec.json.encode(tree)
    (directory / "results.json").write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    (directory / "report.txt").write_text(text + "\n")
