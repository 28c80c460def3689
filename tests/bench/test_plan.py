from __future__ import annotations

import msgspec
import pytest

from bench.plan import Latency, Outcome, Plan, PlanError, percentiles, read_plan


def test_a_plan_survives_encoding_and_decoding() -> None:
    plan = Plan(scenario="relay", variant="offer", url="ws://127.0.0.1:1", dialect="peers", server=1, seconds=0.5)
    assert read_plan(msgspec.json.encode(plan)) == plan


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "truncated"),
        (b"{}", "scenario"),
        (b'{"scenario":"relay","url":"","dialect":"peers","server":1,"secnds":1}', "secnds"),
        (b'{"scenario":"relay","url":"","dialect":"peers","server":1,"window":0}', "window"),
        (b'{"scenario":"relay","url":"","dialect":"peers","server":1,"seconds":1e9}', "seconds"),
        (b'{"scenario":"relay","url":"","dialect":"peers","server":1,"redis":{"url":"","pid":0}}', "redis.pid"),
        (b'{"scenario":"relay","url":"","dialect":"peers","server":1,"others":[{"pid":1}]}', "url"),
    ],
)
def test_the_error_of_an_invalid_plan_names_the_problem(text: bytes, problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        read_plan(text)


def test_percentiles_are_measured_values() -> None:
    assert percentiles([n * 1000 for n in range(1, 101)]) == Latency(100, 50, 95, 99, 100)
    assert percentiles([7000]) == Latency(1, 7, 7, 7, 7)
    assert percentiles([]) == Latency()


def test_costs_are_per_operation() -> None:
    outcome = Outcome(operations=200, seconds=2, cpu_ns=3_000_000, rss_bytes=1)
    assert outcome.cpu_us == 15
    assert outcome.throughput == 100
    assert Outcome(operations=0, seconds=0, cpu_ns=5, rss_bytes=1).cpu_us == 0
