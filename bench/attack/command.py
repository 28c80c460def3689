"""The command `attack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import machine
from bench.attack import report
from bench.attack.attacks import ATTACKS
from bench.attack.run import Options, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

RESULTS = Path(__file__).parent.parent / "results"
SECONDS, QUICK_SECONDS = 8.0, 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add(
        "--attack",
        choices=["all", *ATTACKS],
        default="all",
        metavar="NAME",
        help=f"all (default), {', '.join(ATTACKS)}",
    )
    add("--seconds", type=float, help=f"length of each attack (default: {SECONDS:g})")
    add("--seed", type=int, default=1, metavar="N", help="seed of all random choices (default: 1)")
    add(
        "--addresses", choices=["one", "many"], default="many", help="source addresses of the attackers (default: many)"
    )
    add("--tls", action="store_true", help="attack over TLS")
    add("--quick", action="store_true", help="short and small, to see that it works; latency is not judged")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def attack(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the attacks. Return 0, or 1 if a limit was exceeded."""
    seconds = chosen.seconds or (QUICK_SECONDS if chosen.quick else SECONDS)
    options = Options(seconds, chosen.seed, chosen.quick, chosen.addresses, chosen.tls)
    names = list(ATTACKS) if chosen.attack == "all" else [chosen.attack]
    where = machine.describe()
    say(machine.summary(where))
    verdicts = run(names, options, say)
    source = "from many addresses" if options.addresses == "many" else "from one address"
    setting = f"{seconds:g} s of each attack, seed {options.seed}, {source}{', over TLS' if options.tls else ''}"
    heading = [machine.summary(where), setting]
    text = "\n".join([*heading, *report.lines(verdicts, timed=not options.quick)])
    directory = chosen.out / "attack"
    directory.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode({"machine": where, "options": options, "verdicts": verdicts})
    (directory / "results.json").write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    (directory / "report.txt").write_text(text + "\n")
    say(f"\n{text}\n\nwritten to {directory}: results.json, report.txt")
    return 1 if any(list(verdict.breaches(timed=not options.quick)) for verdict in verdicts) else 0
