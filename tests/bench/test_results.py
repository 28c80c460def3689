from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.figures import Figure, figures, ratio
from bench.goals import Goal, judge
from bench.plan import Latency, Outcome
from bench.report import lines
from bench.results import OURS, Measured, Results
from bench.scenarios import SCENARIOS

if TYPE_CHECKING:
    from pathlib import Path


def outcome(cpu_us: float, p99: float = 0.0) -> Outcome:
    latency = Latency(100, p99 / 2, p99 / 1.5, p99, p99 * 2) if p99 else Latency()
    return Outcome(operations=100, seconds=2, cpu_ns=round(cpu_us * 100_000), rss_bytes=2**20, latency=latency)


@pytest.fixture
def results() -> Results:
    machine = {
        "cpu": "a processor",
        "cores": 2,
        "load_average_before": 0.0,
        "system": "a system",
        "commit": "",
        "changed_since_commit": False,
        "versions": {"python": "3"},
    }
    ours = [outcome(cost, 100) for cost in (16, 20, 18)]
    theirs = [outcome(cost, 200) for cost in (60, 50, 400)]
    return Results(
        machine,
        {},
        [
            Measured("relay", "candidate", OURS, ours),
            Measured("relay", "candidate", "tornado", theirs),
            Measured("relay", "candidate", "ws", failed="it did not start"),
            Measured("isolation", "quiet", OURS, [outcome(1, 100)]),
            Measured("isolation", "loud", OURS, [outcome(1, 250)]),
        ],
    )


def test_figures_are_medians_with_their_span() -> None:
    found = figures([outcome(16), outcome(20), outcome(18)])
    assert found["cpu_us"] == Figure(18, 16, 20)
    assert found["throughput"] == Figure(50, 50, 50)
    assert "latency_p99_us" not in found, "what was not measured is no zero"


def test_ratios_are_of_medians(results: Results) -> None:
    assert results.ratio("relay", "candidate", "tornado") == pytest.approx(18 / 60)
    assert results.ratio("relay", "candidate", "ws") is None
    assert results.ratio("relay", "offer", "tornado") is None
    assert ratio(Figure(1, 1, 1), Figure(0, 0, 0)) is None


def test_goals_are_judged_where_there_are_numbers(results: Results) -> None:
    judged = {str(goal): value for goal, value in judge(results)}
    assert judged == {
        "relay candidate cpu_us to tornado": pytest.approx(0.3),
        "isolation loud latency_p99_us to quiet": pytest.approx(2.5),
    }


def test_a_goal_may_be_about_another_than_ours(results: Results) -> None:
    goal = Goal("relay", "candidate", "cpu_us", 1.0, to="sessionless", of="tornado")
    results.measured.append(Measured("relay", "candidate", "sessionless", [outcome(30)]))
    assert goal.value(results) == pytest.approx(2.0)
    assert str(goal) == "relay candidate cpu_us of tornado to sessionless"


def test_the_report_shows_medians_ratios_failures_and_goals(results: Results) -> None:
    text = "\n".join(lines(results, SCENARIOS))
    assert "60.0 (50.0-400.0)" in text
    assert "0.30" in text
    assert "ws: FAILED: it did not start" in text
    assert "MISSED" in text


def test_the_json_holds_every_round(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    tornado = json.loads((tmp_path / "results.json").read_bytes())["measured"][1]
    assert tornado["figures"]["cpu_us"] == {"median": 60, "least": 50, "most": 400}
    assert [one["cpu_us"] for one in tornado["rounds"]] == [60, 50, 400]
    assert tornado["ours_to_this"]["cpu_us"] == pytest.approx(0.3)
