"""The one table that sums up a run: a row for each contender."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Measured, Results


class Column(NamedTuple):
    """Quantities of a variant of a scenario, in one cell. A quantity is divided by `unit`."""

    heading: str
    scenario: str
    variant: str
    quantities: tuple[str, ...]
    unit: float = 1
    digits: int = 0


MESH, RATE, FAULTS = "signaling-mesh", "signaling-rate", "signaling-faults"
AMISS = ("lost", "told", "duplicated", "reordered")
COLUMNS = (
    *(Column(f"mesh of {size} ms", MESH, size, ("latency_p50_us",), 1000, 1) for size in ("2", "8", "30")),
    Column("CPU ms", MESH, "30", ("mesh_cpu_ms",)),
    Column("KiB", MESH, "30", ("mesh_kib",)),
    *(Column(f"p99 ms at {rate}/s", RATE, rate, ("latency_p99_us",), 1000, 1) for rate in ("200", "1000", "3000")),
    Column("cut", FAULTS, "cut", AMISS),
    Column("kill -9", FAULTS, "kill", AMISS),
    Column("Redis restart", FAULTS, "redis", AMISS),
)
NOT_APPLICABLE, FAILED = "n/a", "FAILED"


def lines(results: Results) -> Iterator[str]:
    """Yield the lines of the table, with the columns that were measured."""
    columns = [one for one in COLUMNS if any(_matches(entry, one) for entry in results.measured)]
    names = dict.fromkeys(entry.contender for entry in results.measured if entry.scenario)
    rows = [["", *(column.heading for column in columns)]]
    rows += [[name, *(_cell(results, column, name) for column in columns)] for name in names]
    yield from aligned(rows)
    yield "CPU and KiB are those of a mesh of 30. n/a: does not apply."
    if any(column.scenario == FAULTS for column in columns):
        yield "cut, kill -9, Redis restart: messages lost / undelivered, which the sender knows / twice / out of order"


def _matches(entry: Measured, column: Column) -> bool:
    return (entry.scenario, entry.variant) == (column.scenario, column.variant)


def _cell(results: Results, column: Column, contender: str) -> str:
    found = results.find(column.scenario, column.variant, contender)
    if found is None:
        return "-"
    if found.failed:
        return FAILED
    if not found.outcomes:
        return NOT_APPLICABLE
    figures = found.figures
    values = [getattr(figures[name], "most" if len(column.quantities) > 1 else "median") for name in column.quantities]
    return " / ".join(f"{value / column.unit:.{column.digits}f}" for value in values)
