"""The latency of relayed messages: one of sixteen is measured, and only one at a time."""

from __future__ import annotations

from mcp_actors.counters.relay_latency import NOT_SAMPLED, RelayLatency


def test_a_measured_request_is_counted_once_with_what_waited_behind_it() -> None:
    latency, request = RelayLatency(), object()
    latency.begin(request)
    assert latency.request is request
    for _ in range(2):
        latency.end(request, latency.signals, 3)
    assert latency.request is None
    assert sum(latency.signals.counts) == 1
    assert 0 < latency.signals.sum < 60
    assert (sum(latency.inbox.counts), latency.inbox.sum) == (1, 3)
    assert sum(latency.broadcasts.counts) == 0


def test_a_request_that_is_not_measured_any_more_counts_nothing() -> None:
    latency, first, second = RelayLatency(), object(), object()
    latency.begin(first)
    latency.begin(second)
    latency.end(first, latency.signals, 0)
    assert sum(latency.signals.counts) == 0
    latency.end(second, latency.signals, 0)
    assert sum(latency.signals.counts) == 1


def test_one_of_sixteen_messages_is_measured() -> None:
    assert [count for count in range(1, 49) if not count & NOT_SAMPLED] == [16, 32, 48]
