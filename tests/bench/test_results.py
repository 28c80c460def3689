from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.figures import Figure, Ratio, figures, ratio
from bench.goals import Goal, judge
from bench.plan import Latency, Outcome
from bench.report import lines
from bench.results import CHECKOUT, OURS, Measured, Results
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


def test_figures_are_medians_with_minimum_and_maximum() -> None:
    found = figures([outcome(16), outcome(20), outcome(18)])
    assert found["cpu_us"] == Figure(18, 16, 20)
    assert found["throughput"] == Figure(50, 50, 50)
    assert "latency_p99_us" not in found, "quantities that were not measured are missing, not 0"


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds(results: Results) -> None:
    found = results.ratio("relay", "candidate", "tornado")
    assert found == pytest.approx((16 / 60, 18 / 400, 20 / 50, 3))
    assert str(found) == "0.27 (0.04-0.40, 3 rounds)"
    assert results.ratio("relay", "candidate", "ws") is None
    assert results.ratio("relay", "offer", "tornado") is None


def test_a_machine_that_slows_down_between_rounds_does_not_change_a_ratio() -> None:
    ours, theirs = [outcome(cost) for cost in (10, 20, 40)], [outcome(cost) for cost in (20, 40, 80)]
    assert ratio(ours, theirs, "cpu_us") == Ratio(0.5, 0.5, 0.5, 3)


def test_a_ratio_ignores_rounds_that_only_one_contender_measured() -> None:
    ours = [outcome(10), outcome(20), outcome(90)]
    assert ratio(ours, [outcome(20), outcome(40)], "cpu_us") == Ratio(0.5, 0.5, 0.5, 2)
    assert ratio(ours, [outcome(20, 100)], "latency_p99_us") is None
    assert ratio(ours, [outcome(0)], "cpu_us") is None


def test_only_goals_with_figures_are_judged(results: Results) -> None:
    judged = {str(goal): value for goal, value in judge(results)}
    assert judged == {
        "relay candidate cpu_us to tornado": pytest.approx(16 / 60),
        "isolation loud latency_p99_us to quiet": pytest.approx(2.5),
    }


def test_a_goal_may_concern_another_contender_than_ours(results: Results) -> None:
    goal = Goal("relay", "candidate", "cpu_us", 1.0, to="sessionless", of="tornado")
    results.measured.append(Measured("relay", "candidate", "sessionless", [outcome(30)]))
    assert goal.value(results) == pytest.approx(2.0)
    assert str(goal) == "relay candidate cpu_us of tornado to sessionless"


def test_the_report_shows_medians_ratios_failures_and_goals(results: Results) -> None:
    text = "\n".join(lines(results, SCENARIOS))
    assert "60.0 (50.0-400.0)" in text
    assert "0.27" in text
    assert "ws: FAILED: it did not start" in text
    assert "MISSED" in text


def test_the_json_holds_every_round(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    tornado = json.loads((tmp_path / "results.json").read_bytes())["measured"][1]
    assert tornado["figures"]["cpu_us"] == {"median": 60, "least": 50, "most": 400}
    assert [one["cpu_us"] for one in tornado["rounds"]] == [60, 50, 400]
    assert tornado["ours_to_this"]["cpu_us"] == pytest.approx(16 / 60)


def test_the_report_and_the_json_hold_the_ratios_to_another_checkout(results: Results, tmp_path: Path) -> None:
    before = f"{CHECKOUT}0123abc"
    results.measured.append(Measured("relay", "candidate", before, [outcome(cost, 100) for cost in (16, 25, 20)]))
    text = "\n".join(lines(results, SCENARIOS))
    assert f"mcp_actors / {before}: median" in text
    assert "relay candidate CPU 0.90 (0.80-1.00, 3 rounds)" in " ".join(text.split())
    assert "relay candidate cpu_us to another checkout" in text
    results.write(tmp_path / "results.json")
    measured = json.loads((tmp_path / "results.json").read_bytes())["measured"]
    assert measured[-1]["ratios"]["cpu_us"] == {"median": 0.9, "least": 0.8, "most": 1.0, "rounds": 3}
    assert "ratios" not in measured[1]


def test_of_several_checkouts_the_worst_ratio_is_judged(results: Results) -> None:
    for name, cost in (("old", 36), ("older", 9)):
        results.measured.append(Measured("relay", "candidate", CHECKOUT + name, [outcome(cost)] * 3))
    assert Goal("relay", "candidate", "cpu_us", 1.03, to=CHECKOUT).value(results) == pytest.approx(2.0)
