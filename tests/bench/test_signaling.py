from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.plan import Outcome, percentiles
from bench.results import Measured, Results
from bench.signaling import table
from bench.signaling.contenders import CONTENDERS

if TYPE_CHECKING:
    from pathlib import Path


def outcome(**extra: float) -> Outcome:
    latency = percentiles([1_000_000, 2_000_000, 3_000_000])
    return Outcome(operations=1, seconds=1, cpu_ns=1, rss_bytes=1, latency=latency, extra=extra)


def test_the_table_has_a_row_for_each_contender_and_says_what_does_not_apply() -> None:
    counts = {"lost": 1.0, "told": 2.0, "duplicated": 3.0, "reordered": 4.0}
    results = Results(
        {},
        {},
        [
            Measured("signaling-mesh", "2", "one", [outcome()]),
            Measured("signaling-mesh", "2", "two", failed="it did not start"),
            Measured("signaling-faults", "redis", "one", skipped="does not apply: one process, without Redis"),
            Measured("signaling-faults", "redis", "two", [outcome(**counts), outcome(**counts | {"lost": 5.0})]),
        ],
    )
    rows = [line.split("  ") for line in table.lines(results)]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows[:3]] == [
        ["mesh of 2 ms", "Redis restart"],
        ["one", "2.0", "n/a"],
        ["two", "FAILED", "5 / 2 / 3 / 4"],
    ]


def test_an_unknown_contender_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["signaling", "--only", "mcp_actors,nobody", "--out", str(tmp_path)]) == 1
    assert "nobody: no such contender" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_servers_are_started_with_what_is_installed_here() -> None:
    assert {name: one.missing() for name, one in CONTENDERS.items()} == dict.fromkeys(CONTENDERS)


@pytest.mark.heavy
def test_a_short_run_measures_a_mesh_and_a_rate_of_this_server_and_another(tmp_path: Path) -> None:
    chosen = ["--quick", "--only", "mcp_actors,socketio-redis", "--seconds", "0.2", "--out", str(tmp_path)]
    assert main(["signaling", "--scenario", "signaling-mesh", "--scenario", "signaling-rate", *chosen]) == 0
    written = json.loads((tmp_path / "signaling" / "results.json").read_bytes())
    for one in written["measured"]:
        (found,) = one["rounds"]
        assert found["latency_count"] > 0
        assert found["mesh_kib"] > 100 if one["scenario"] == "signaling-mesh" else found["delivered"] > 0
    assert {one["contender"] for one in written["measured"]} == {"mcp_actors", "socketio-redis"}
    assert "p99 ms at 200/s" in (tmp_path / "signaling" / "report.txt").read_text()
