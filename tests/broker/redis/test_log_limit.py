from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.broker.redis.log_limit import INTERVAL, LogLimit

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs


def test_an_event_is_logged_once_per_interval(expected_logs: ExpectedLogs) -> None:
    now = 1000.0
    limit = LogLimit(lambda: now)
    expected_logs("mcp_actors.redis", "full")
    expected_logs("mcp_actors.redis", "other")
    for number in range(3):
        limit.warning("full", number=number)
        limit.warning("other")
    assert len(expected_logs.records) == 2
    now += INTERVAL
    limit.warning("full", number=7)
    assert "number=7" in expected_logs.records[-1].getMessage()
