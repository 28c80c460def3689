"""The report: tables, ratios and goals, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import COUNTS
from bench.goals import judge
from bench.machine import summary
from bench.results import OURS, RATIOS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.figures import Figure
    from bench.results import Measured, Results
    from bench.scenarios.scenario import Measurement

HEADINGS = {
    "cpu_us": "CPU us (min-max)",
    "throughput": "per s",
    "latency_p50_us": "p50 ms",
    "latency_p95_us": "p95 ms",
    "latency_p99_us": "p99 ms",
    "latency_max_us": "max ms",
    "latency_count": "latencies",
    "rss_mib": "RSS MiB",
    "bytes_per_connection": "KiB/connection",
    "create_us_max": "create max us",
    "retire_us_max": "retire max us",
    "create_last_to_first": "last/first",
    "retire_last_to_first": "last/first",
    "bytes_per_room": "KiB/room",
    "cpu_us_1": "first us",
    "cpu_us_2": "second us",
    "redis_cpu_us": "Redis us",
    "redis_commands": "commands",
    "together": "in one process",
    "delivered": "delivered",
    "lost": "lost",
    "duplicated": "twice",
    "reordered": "reordered",
    "refused": "refused",
    "slow_refused": "slow refused",
    "told_to_wait": "told to wait",
    "floods_closed": "floods closed",
    "mesh_cpu_ms": "CPU ms/mesh",
    "mesh_kib": "KiB/mesh",
    "sent": "sent",
    "told": "told",
}


RATIO_LABELS = {
    "cpu_us": "CPU",
    "throughput": "throughput",
    "latency_p50_us": "latency p50",
    "latency_p99_us": "latency p99",
    "bytes_per_connection": "memory per connection",
    "rss_mib": "RSS",
}


def lines(results: Results, scenarios: Mapping[str, Measurement]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield summary(results.machine)
    for name, scenario in scenarios.items():
        for variant in scenario.variants:
            entries = [one for one in results.measured if (one.scenario, one.variant) == (name, variant)]
            if any(one.outcomes or one.failed for one in entries):
                yield from _table(results, scenario, variant, entries)
    for one in results.measured:
        if not one.scenario:
            yield f"{one.contender} was skipped: {one.skipped}"
    for checkout in results.checkouts():
        yield from _ratios(results, checkout)
    yield from _verdict(results)


def _table(results: Results, scenario: Measurement, variant: str, entries: list[Measured]) -> Iterator[str]:
    yield ""
    present = {name for one in entries for name in one.figures}
    columns = [name for name in scenario.columns if name in present]
    costs = f", CPU per {scenario.operation}" if "cpu_us" in columns else ""
    yield f"{scenario.name} {variant}".rstrip() + f": medians over the rounds{costs}"
    rows = [["", *(HEADINGS[name] for name in columns), "ours/this"]]
    rows += [_row(results, one, columns) for one in entries if one.outcomes]
    yield from aligned(rows)
    yield from (f"  {one.contender}: FAILED: {one.failed}" for one in entries if one.failed)
    for reason in dict.fromkeys(one.skipped for one in entries if one.skipped):
        yield f"  skipped, {reason}: " + ", ".join(one.contender for one in entries if one.skipped == reason)


def _row(results: Results, one: Measured, columns: list[str]) -> list[str]:
    found = one.figures
    key = next((name for name in ("cpu_us", "bytes_per_connection", "latency_p99_us") if name in columns), "")
    if "bytes_per_connection" in columns:
        key = "bytes_per_connection"
    ratio = None if one.contender == OURS else results.ratio(one.scenario, one.variant, one.contender, key)
    cells = [_cell(name, found.get(name)) for name in columns]
    return [one.contender, *cells, "" if ratio is None else f"{ratio.median:.2f}"]


def _ratios(results: Results, checkout: str) -> Iterator[str]:
    yield ""
    yield f"{OURS} / {checkout}: median of the ratios of all rounds (min-max, rounds)"
    rows = []
    for one in results.measured:
        if one.contender == checkout:
            ratios = {name: results.ratio(one.scenario, one.variant, checkout, name) for name in RATIOS}
            label = f"{one.scenario} {one.variant}".strip()
            rows += [[f"{label} {RATIO_LABELS[name]}", str(ratio)] for name, ratio in ratios.items() if ratio]
    yield from aligned(rows) if rows else ["  nothing was measured of both"]


def _cell(name: str, figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if name == "cpu_us":
        return f"{figure.median:.1f} ({figure.least:.1f}-{figure.most:.1f})"
    if name.startswith("latency_") and name.endswith("_us"):
        return f"{figure.median / 1000:.2f}"
    if name.startswith("bytes_"):
        return f"{figure.median / 1024:.1f}"
    if name in COUNTS:
        return f"{figure.most:.0f}"
    if name in ("throughput", "latency_count", "delivered", "sent"):
        return f"{figure.median:.0f}"
    return (
        f"{figure.median:.2f}"
        if "last_to_first" in name or name in ("redis_commands", "together")
        else f"{figure.median:.1f}"
    )


def aligned(rows: list[list[str]]) -> Iterator[str]:
    """Lay out rows in columns, the first aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  " + "  ".join(cells).rstrip()


def _verdict(results: Results) -> Iterator[str]:
    judged = judge(results)
    if judged:
        yield ""
        yield "goals"
        rows = [["", "measured", "at most", ""]]
        for goal, value in judged:
            rows.append([str(goal), f"{value:.2f}", f"{goal.most:.2f}", "met" if value <= goal.most else "MISSED"])
        yield from aligned(rows)
    for failure in results.failures:
        yield f"FAILED: {failure}"
