"""The command `soak`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import machine, plots
from bench.chaos import report
from bench.chaos.memory import LEAST_SECONDS, growths
from bench.chaos.run import Options, run_and_record
from bench.engine import FLAVORS, missing
from bench.soak.plan import Soak

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from bench.chaos.record import Record, Sample

RESULTS = Path(__file__).parent.parent / "results"
SECONDS, QUICK_SECONDS = 600.0, 10.0
QUICK = Soak(calm=0.4, moves=2.0, down=3.0)
LEASE = 4.0
"""Seconds; longer than in chaos, because a shared machine may stall within ten minutes."""

MEBIBYTE = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--seconds", type=float, help=f"length of the run (default: {SECONDS:.0f}); at least one whole round")
    add("--seed", type=int, default=1, metavar="N", help="seed of all random choices (default: 1)")
    add("--processes", type=int, default=3, metavar="N", help="number of nodes, at least 2 (default: 3)")
    add("--rooms", type=int, metavar="N", help="number of rooms (default: 3; with --quick 2)")
    add("--peers", type=int, metavar="N", help="resident peers in all rooms together (default: 24; with --quick 8)")
    add(
        "--rate",
        type=float,
        default=200.0,
        metavar="N",
        help="messages per second of all peers together (default: 200)",
    )
    add("--engine", choices=FLAVORS, default="valkey", help="Redis-protocol server (default: valkey)")
    add("--quick", action="store_true", help="one round in 20 seconds, to see that it works; too short to judge memory")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def soak(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the soak. Return 0, or 1 if a promise was broken or memory grew."""
    reason = missing(chosen.engine) or ("at least two processes are needed" if chosen.processes < 2 else None)  # noqa: PLR2004
    if reason is not None:
        say(reason)
        return 1
    options, directory, where = _options(chosen), chosen.out / "soak", machine.describe()
    plan = QUICK if chosen.quick else Soak()
    say(f"{machine.summary(where)}\n{plan.about}: {options.seconds:g} s")
    verdict, record = run_and_record(plan, options, directory / "run")
    setting = (
        f"{options.processes} processes on {options.flavor}, lease {options.lease:g} s, {options.window:g} s "
        f"to resume, {options.peers} peers in {options.rooms} rooms, {options.rate:g} messages/s, seed {options.seed}, "
        f"{options.seconds:g} s"
    )
    heading = [machine.summary(where), setting]
    text = "\n".join([*heading, *report.lines([verdict], control=False), "", *_memory(record)])
    tree = {"machine": where, "options": options, "verdict": verdict, "growths": growths(record)}
    encoded = msgspec.json.encode(tree | {"samples": record.samples})
    (directory / "results.json").write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    (directory / "report.txt").write_text(text + "\n")
    drawn = ", ".join(["results.json", "report.txt", *(path.name for path in _draw(record.samples, directory))])
    say(f"\n{text}\n\nwritten to {directory}: {drawn}; the record and logs of the nodes in run/")
    return 0 if verdict.kept else 1


def _options(chosen: argparse.Namespace) -> Options:
    return Options(
        seconds=chosen.seconds or (QUICK_SECONDS if chosen.quick else SECONDS),
        seed=chosen.seed,
        processes=chosen.processes,
        rooms=chosen.rooms or (2 if chosen.quick else 3),
        peers=chosen.peers or (8 if chosen.quick else 24),
        rate=chosen.rate,
        lease=LEASE,
        window=6.0 if chosen.quick else 10.0,
        drain=1.0 if chosen.quick else 3.0,
        flavor=chosen.engine,
    )


def _memory(record: Record) -> Iterator[str]:
    """Describe the growth of memory."""
    took = record.samples[-1].at - record.samples[0].at
    yield f"the observer stalled for at most {record.stalled:.1f} s; a node that stalls for {LEASE:g} s loses its lease"
    yield f"memory over {took:.0f} s" + (", too short to be judged" if took < LEAST_SECONDS else "")
    yield from (f"  {growth}{'' if growth.flat else ' - GROWN'}" for growth in growths(record))


def _draw(samples: list[Sample], directory: Path) -> list[Path]:
    nodes = sorted({node for sample in samples for node in sample.nodes})
    memory = {f"node {node}": _sizes(samples, node) for node in nodes}
    memory["Redis, used memory"] = [(one.at, one.redis / MEBIBYTE) for one in samples if one.redis]
    pairs = list(pairwise(samples))
    rates = {
        "sent": [(two.at, (two.sent - one.sent) / (two.at - one.at)) for one, two in pairs],
        "arrived": [(two.at, (two.arrived - one.arrived) / (two.at - one.at)) for one, two in pairs],
    }
    try:
        return [
            plots.over_time(directory / "memory.png", "Memory, MiB", memory),
            plots.over_time(directory / "rates.png", "Messages per second", rates),
        ]
    except ImportError:
        return []


def _sizes(samples: list[Sample], node: int) -> list[tuple[float, float]]:
    """Return the memory of a node over time in MiB, with a NaN where its process was replaced."""
    points, before = [], None
    for sample in samples:
        pid, size = sample.nodes.get(node, (None, 0))
        points.append((sample.at, size / MEBIBYTE if pid is not None and pid == before else float("nan")))
        before = pid
    return points
