"""Limits of addresses, which are forgotten as soon as there is nothing to remember."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.connection.address import AddressRates
from mcp_actors.connection.connection_limits import ConnectionLimits, ConnectionRates
from mcp_actors.connection.ip_limits import IpLimits
from mcp_actors.connection.token_bucket import TokenBucket

NONE = TokenBucket(0, 1)
EACH = ConnectionRates(NONE, NONE, NONE, NONE, NONE, 10)


def table(
    connections: TokenBucket = NONE,
    messages: TokenBucket = NONE,
    *,
    requests: TokenBucket = NONE,
    at_once: int = 0,
    max_addresses: int = 100,
) -> IpLimits:
    together = AddressRates(connections, messages, NONE, NONE, at_once, requests=requests)
    return IpLimits(together, EACH, max_addresses=max_addresses)


def test_new_connections_are_limited_by_a_rate() -> None:
    addresses = table(TokenBucket(2, 3))
    assert [addresses.refusal("192.0.2.1", 0.0) for _ in range(3)] == [None] * 3
    refusal = addresses.refusal("192.0.2.1", 0.1)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(0.4)
    assert "192.0.2.1 connects too often" in refusal.reason
    assert addresses.refusal("192.0.2.2", 0.1) is None
    assert addresses.refusal("192.0.2.1", 0.5) is None


def test_requests_are_limited_by_a_rate_of_their_own() -> None:
    addresses = table(TokenBucket(1, 1), requests=TokenBucket(2, 3))
    assert addresses.request_wait("192.0.2.1", 0.0) <= 0
    assert [addresses.request("192.0.2.1", 0.0) for _ in range(3)] == [None] * 3
    assert addresses.request_wait("192.0.2.1", 0.1) == pytest.approx(0.4)
    refusal = addresses.request("192.0.2.1", 0.1)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(0.4)
    assert "192.0.2.1 sends too many requests" in refusal.reason
    assert addresses.refusal("192.0.2.1", 0.1) is None
    assert addresses.request("192.0.2.2", 0.1) is None
    assert addresses.request("192.0.2.1", 0.5) is None


def test_requests_of_many_addresses_are_remembered_within_the_limit() -> None:
    addresses = table(requests=TokenBucket(1, 1), max_addresses=3)
    for number in range(100):
        assert addresses.request(f"192.0.2.{number}", 0.0) is None
        assert len(addresses) <= 3
    for number in range(97, 100):
        addresses.open(f"192.0.2.{number}")
    assert "as many addresses as it may" in str(addresses.request("192.0.2.1", 0.0))


def test_an_address_has_a_limited_number_of_connections() -> None:
    addresses = table(at_once=2)
    meters = [addresses.open("192.0.2.1") for _ in range(2)]
    assert "as many connections" in str(addresses.refusal("192.0.2.1", 0.0))
    assert addresses.refusal("192.0.2.2", 0.0) is None
    addresses.close(meters[0], 1.0)
    assert addresses.refusal("192.0.2.1", 1.0) is None


def test_an_address_is_forgotten_when_it_has_no_connections_and_its_buckets_are_full() -> None:
    addresses = table(TokenBucket(1, 5))
    assert addresses.refusal("192.0.2.1", 0.0) is None
    meter = addresses.open("192.0.2.1")
    addresses.close(meter, 0.5)
    assert len(addresses) == 1
    addresses.refusal("192.0.2.2", 0.9)
    assert len(addresses) == 2
    addresses.refusal("192.0.2.2", 1.1)
    assert len(addresses) == 1


def test_an_address_that_was_refused_is_remembered_until_it_may_connect() -> None:
    addresses = table(TokenBucket(1, 1))
    addresses.refusal("192.0.2.1", 0.0)
    for moment in (0.2, 0.4, 0.6):
        addresses.close(addresses.open("192.0.2.9"), moment)
        assert addresses.refusal("192.0.2.1", moment) is not None
    assert addresses.refusal("192.0.2.1", 1.0) is None


def test_the_least_recently_used_address_is_forgotten_for_a_new_one() -> None:
    addresses = table(TokenBucket(0.01, 1), max_addresses=2)
    for number in range(3):
        assert addresses.refusal(f"192.0.2.{number}", float(number)) is None
    assert len(addresses) == 2
    assert addresses.refusal("192.0.2.2", 3.0) is not None
    assert addresses.refusal("192.0.2.0", 3.0) is None


def test_an_address_with_connections_is_never_forgotten() -> None:
    addresses = table(max_addresses=2)
    for number in range(2):
        addresses.open(f"192.0.2.{number}")
    assert "as many addresses" in str(addresses.refusal("192.0.2.2", 1e9))
    assert addresses.refusal("192.0.2.1", 1e9) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["ask", "open", "close"]), st.floats(0, 3)), max_size=80))
def test_connections_are_counted_and_the_number_of_addresses_is_bounded(steps: list[tuple[int, str, float]]) -> None:
    addresses = table(TokenBucket(1, 2), at_once=3, max_addresses=5)
    meters: dict[str, list[ConnectionLimits]] = {f"192.0.2.{number}": [] for number in range(10)}
    now = 0.0
    for number, step, pause in steps:
        now += pause
        name = f"192.0.2.{number}"
        if step == "close" and meters[name]:
            addresses.close(meters[name].pop(), now)
        elif addresses.refusal(name, now) is None and step == "open":
            meters[name].append(addresses.open(name))
        assert len(addresses) <= 5
        for known in meters.values():
            assert {meter.address.connections for meter in known} <= {len(known)}
            assert len(known) <= 3
    for known in meters.values():
        for meter in known:
            addresses.close(meter, now)
    addresses.refusal("198.51.100.1", now + 100)
    assert len(addresses) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("0.0.0.0", "a socket without address", False),  # noqa: S104 - a name as any
    ],
)
def test_the_part_of_an_address_that_a_client_can_choose_does_not_count(one: str, other: str, same: bool) -> None:
    addresses = table()
    first, second = addresses.open(one), addresses.open(other)
    assert (first.address is second.address) == same


def test_only_the_first_refusal_of_an_address_is_logged() -> None:
    addresses = table(TokenBucket(1, 1))
    addresses.refusal("192.0.2.1", 0.0)
    assert [addresses.should_log("192.0.2.1") for _ in range(2)] == [True, False]
    addresses.refusal("192.0.2.2", 5.0)
    assert addresses.should_log("192.0.2.1") is False
    assert addresses.should_log("192.0.2.2") is True
