"""Figures at several sizes, and which of them grow faster than linearly."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.plan import Outcome

TOLERANCE = 1.25
"""How many times as much a connection, a room or a pair may cost at the largest size as at the smallest."""


class Row(NamedTuple):
    """A figure: its name, its label, and what its unit is divided by. `each`: it should be the same at all sizes.

    That is judged of CPU and bytes only, as elapsed time depends on what else the machine does.
    """

    name: str
    label: str
    divisor: float = 1.0
    each: bool = False


def growth(row: Row, outcomes: Sequence[Outcome]) -> float | None:
    """Return how many times as much the last has as the first; None if that is not judged or was not measured."""
    first, last = (outcome.extra.get(row.name, 0.0) for outcome in (outcomes[0], outcomes[-1]))
    return last / first if row.each and first > 0 else None


def grows(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> list[str]:
    """Return the labels of the figures that grow faster than linearly."""
    found = [(row.label, growth(row, outcomes)) for row in rows]
    return [label for label, factor in found if factor is not None and factor > TOLERANCE]


def lines(title: str, sizes: Sequence[int], rows: Sequence[Row], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a table: a column for each size, and the growth."""
    yield title
    table = [["", *(f"{size:,}" for size in sizes), "last/first"]]
    for row in rows:
        values = [outcome.extra.get(row.name) for outcome in outcomes]
        cells = ["-" if value is None else f"{value / row.divisor:.2f}" for value in values]
        factor = growth(row, outcomes)
        table.append([row.label, *cells, "" if factor is None else f"{factor:.2f}"])
    yield from aligned(table)
