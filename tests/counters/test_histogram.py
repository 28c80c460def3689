"""Histograms: bounds belong to their range, as Prometheus has them."""

from __future__ import annotations

import pytest

from mcp_actors.counters.histogram import FAST, SLOW, Histogram


def test_a_value_counts_in_the_first_range_whose_bound_it_does_not_exceed() -> None:
    histogram = Histogram((1, 2, 4))
    for value in (0, 1, 1.5, 2, 3, 4, 4.1, 100):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 2, 2]
    assert histogram.sum == pytest.approx(115.6)


@pytest.mark.parametrize("bounds", [FAST, SLOW])
def test_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
