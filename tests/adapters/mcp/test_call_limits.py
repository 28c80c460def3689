"""How often agents may call tools."""

from __future__ import annotations

from mcp_actors.adapters.mcp.call_limits import CallLimits, CallRates
from mcp_actors.connection.token_bucket import TokenBucket
from tests.support.agents import holder


def _limits(most: int = 9) -> CallLimits:
    return CallLimits(CallRates(TokenBucket(0.5, 2), TokenBucket(1, 3)), most)


def test_a_caller_is_told_when_to_go_on() -> None:
    limits, ada = _limits(), holder("ada")
    assert [limits.wait(ada, 100.0) for _ in range(3)] == [0, 0, 2]
    assert limits.wait(ada, 102.0) == 0


def test_callers_at_one_address_share_its_bucket() -> None:
    limits = _limits()
    waits = [limits.wait(holder(name), 100.0) for name in ("a", "b", "c", "d")]
    assert waits == [0, 0, 0, 1]
    assert limits.wait(holder("d", address="192.0.2.1"), 100.0) == 0


def test_a_refused_call_costs_nothing() -> None:
    limits, ada = _limits(), holder("ada")
    for _ in range(9):
        limits.wait(ada, 100.0)
    assert limits.wait(ada, 102.0) == 0


def test_full_buckets_are_forgotten_and_others_are_bounded() -> None:
    limits = _limits()
    limits.wait(holder("ada"), 100.0)
    limits.wait(holder("bob"), 200.0)
    assert len(limits) == 2
    limits = _limits(most=2)
    for number in range(9):
        limits.wait(holder(f"{number}", address=f"192.0.2.{number}"), 100.0)
    assert len(limits) == 4
