from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.capacity import Costs, Workload, crossing_share, need

if TYPE_CHECKING:
    from pathlib import Path

COSTS = Costs(connection_bytes=1024, idle=0, join=0, signal=10, crossing=100, redis=50)
WORKLOAD = Workload(members=2, joins_per_hour=3600, signals=1, busy=1, process_bytes=1 << 30)


def test_memory_decides_where_nothing_is_sent() -> None:
    quiet = WORKLOAD._replace(joins_per_hour=0)
    assert need(3 << 20, COSTS, quiet)[:3] == (3 << 20, 3, "memory")


def test_one_process_sends_nothing_through_redis() -> None:
    one = need(100_000, COSTS, WORKLOAD)
    assert (one.processes, one.crossing_share, one.shards) == (1, 0, 0)


def test_processes_are_added_until_they_can_do_what_crosses_between_them() -> None:
    found = need(200_000, COSTS, WORKLOAD)
    assert found.first == "CPU"
    share = crossing_share(found.processes)
    assert 200_000 * ((1 - share) * 10 + share * 100) / 1_000_000 <= found.processes
    assert found.shards == 10


def test_two_members_of_four_processes_share_one_in_a_quarter_of_all_cases() -> None:
    assert crossing_share(4) == pytest.approx(0.75)


def test_the_command_writes_a_row_for_each_size(tmp_path: Path) -> None:
    assert main(["capacity", "--members", "8", "--out", str(tmp_path)]) == 0
    written = (tmp_path / "capacity" / "report.txt").read_text()
    assert written.startswith("rooms of 8,")
    assert written.count("10,000,000") == 2
