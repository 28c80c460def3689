from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.plan import Outcome
from bench.scale import growth
from bench.scale.command import too_few_files
from bench.scale.growth import Row

if TYPE_CHECKING:
    from pathlib import Path

ROWS = (Row("each", "us each", each=True), Row("total", "ms in all", 1000.0), Row("missing", "of nothing", each=True))


def outcome(**extra: float) -> Outcome:
    return Outcome(operations=1, seconds=1, cpu_ns=1, rss_bytes=1, extra=extra)


def test_what_each_costs_must_not_grow_and_what_all_cost_may() -> None:
    steady = [outcome(each=10, total=1000), outcome(each=11, total=4000)]
    growing = [outcome(each=10, total=1000), outcome(each=20, total=8000)]
    assert growth.grows(ROWS, steady) == []
    assert growth.grows(ROWS, growing) == ["us each"]


def test_the_table_has_a_column_for_each_size() -> None:
    outcomes = [outcome(each=10, total=1000), outcome(each=20, total=8000)]
    rows = [line.split() for line in growth.lines("rooms", [1000, 4000], ROWS, outcomes)]
    assert rows == [
        ["rooms"],
        ["1,000", "4,000", "last/first"],
        ["us", "each", "10.00", "20.00", "2.00"],
        ["ms", "in", "all", "1.00", "8.00"],
        ["of", "nothing", "-", "-"],
    ]


@pytest.mark.heavy
def test_everything_is_measured_at_a_small_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--quick", "--only", "connections", "--only", "room", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for figure in ("us of CPU to accept each", "KiB each in the server", "ms of a signal then, p50", "MiB sent"):
        assert sum(line.strip().startswith(figure) for line in said.splitlines()) == 1
    (row,) = [line for line in said.splitlines() if line.strip().startswith("us of CPU per pair of members")]
    assert float(row.split()[-2]) > 0
    assert (tmp_path / "scale" / "report.txt").exists()


def test_a_machine_that_allows_too_few_files_is_told_what_to_change() -> None:
    assert too_few_files(20, 270) == ""
    assert "measuring 20." in too_few_files(1000, 270)
    assert "Allow 1,250 with `ulimit -Hn` as root" in too_few_files(1000, 270)
