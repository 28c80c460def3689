"""The command `capacity`: what a number of connections needs, from the results of other commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.capacity import MOST_BUCKETS, Costs, Workload, need
from bench.report import aligned
from bench.results import OURS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

RESULTS = Path(__file__).parent / "results"
SIZES = tuple(10**power for power in range(3, 8))
USUAL = Workload()
CROSSING = {"many signals at once": "candidate", "200 signals a second": "light"}
"""The two measured loads between two processes, and their variants."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--members", type=int, default=USUAL.members, help=f"members of a room (default: {USUAL.members})")
    text = f"joins of a connection in an hour (default: {USUAL.joins_per_hour})"
    add("--joins-per-hour", type=float, default=USUAL.joins_per_hour, metavar="N", help=text)
    text = f"signals of a pair that connects (default: {USUAL.signals})"
    add("--signals", type=float, default=USUAL.signals, metavar="N", help=text)
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def capacity(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Calculate, report and write the report. Return 0."""
    workload = Workload(chosen.members, chosen.joins_per_hour, chosen.signals)
    text = "\n".join(lines(workload))
    directory = chosen.out / "capacity"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.txt").write_text(text + "\n")
    say(text)
    return 0


def lines(workload: Workload) -> Iterator[str]:
    """Yield the lines of the report."""
    joins = f"{workload.joins_per_hour:g} joins an hour, {workload.signals:g} signals of each pair"
    yield f"rooms of {workload.members}, {joins}; at most {workload.busy:.0%} of a core"
    yield "calculated from bench/results, not measured; joins, leases and audits in Redis are not included"
    for name, variant in CROSSING.items():
        yield ""
        yield f"if a signal costs what it does at {name}"
        yield from aligned(_rows(measured_costs(variant), workload))


def _rows(costs: Costs, workload: Workload) -> list[list[str]]:
    rows = [["connections", "processes", "first", "cross", "signals/s of two", "Redis shards"]]
    for size in SIZES:
        one = need(size, costs, workload)
        shards = f"{one.shards}" + (f" (most: {MOST_BUCKETS})" if one.shards > MOST_BUCKETS else "")
        cells = [f"{one.processes}", one.first, f"{one.crossing_share:.1%}", f"{one.signals_between_two:.1f}", shards]
        rows.append([f"{size:,}", *cells])
    return rows


def measured_costs(variant: str) -> Costs:
    """Return the costs in the results, with those of a signal at one of two loads. Raises `LookupError`."""
    span = ("relay-processes", "relay-processes", variant)
    return Costs(
        _median("idle", "idle", "", "bytes_per_connection"),
        _median("idle", "idle", "", "cpu_us"),
        _median("churn", "churn", "alone", "cpu_us"),
        _median(*span, "cpu_us", "in-process"),
        _median(*span, "cpu_us"),
        _median(*span, "redis_cpu_us"),
    )


def _median(directory: str, scenario: str, variant: str, quantity: str, contender: str = OURS) -> float:
    found: dict[str, Any] = msgspec.json.decode((RESULTS / directory / "results.json").read_bytes())
    for one in found["measured"]:
        if (one["scenario"], one["variant"], one["contender"]) == (scenario, variant, contender):
            return float(one["figures"][quantity]["median"])
    raise LookupError(f"{directory}: {scenario} {variant} of {contender} was not measured")
