"""Addresses: what is refused to one, and that none is remembered for longer than there is something to remember."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.transports.addresses import Addresses, AddressRates
from mcp_actors.transports.meter import ConnectionRates, Meter
from mcp_actors.transports.rates import Rate

NONE = Rate(0, 1)
EACH = ConnectionRates(NONE, NONE, NONE, NONE, 10)


def table(connections: Rate = NONE, messages: Rate = NONE, *, at_once: int = 0, most: int = 100) -> Addresses:
    return Addresses(AddressRates(connections, messages, NONE, NONE, at_once), EACH, most=most)


def test_new_connections_are_let_in_at_their_rate() -> None:
    addresses = table(Rate(2, 3))
    assert [addresses.refusal("192.0.2.1", 0.0) for _ in range(3)] == [None] * 3
    refusal = addresses.refusal("192.0.2.1", 0.1)
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(0.4)
    assert "192.0.2.1 connects too often" in refusal.reason
    assert addresses.refusal("192.0.2.2", 0.1) is None
    assert addresses.refusal("192.0.2.1", 0.5) is None


def test_an_address_has_as_many_connections_at_once_as_it_may() -> None:
    addresses = table(at_once=2)
    meters = [addresses.open("192.0.2.1") for _ in range(2)]
    assert "as many connections" in str(addresses.refusal("192.0.2.1", 0.0))
    assert addresses.refusal("192.0.2.2", 0.0) is None
    addresses.close(meters[0], 1.0)
    assert addresses.refusal("192.0.2.1", 1.0) is None


def test_an_address_is_forgotten_when_it_is_gone_and_its_buckets_are_full() -> None:
    addresses = table(Rate(1, 5))
    assert addresses.refusal("192.0.2.1", 0.0) is None
    meter = addresses.open("192.0.2.1")
    addresses.close(meter, 0.5)
    assert len(addresses) == 1
    addresses.refusal("192.0.2.2", 0.9)
    assert len(addresses) == 2
    addresses.refusal("192.0.2.2", 1.1)
    assert len(addresses) == 1


def test_one_that_was_refused_keeps_its_debt_until_it_has_paid() -> None:
    addresses = table(Rate(1, 1))
    addresses.refusal("192.0.2.1", 0.0)
    for moment in (0.2, 0.4, 0.6):
        addresses.close(addresses.open("192.0.2.9"), moment)
        assert addresses.refusal("192.0.2.1", moment) is not None
    assert addresses.refusal("192.0.2.1", 1.0) is None


def test_of_too_many_addresses_the_one_that_was_gone_longest_is_forgotten() -> None:
    addresses = table(Rate(0.01, 1), most=2)
    for number in range(3):
        assert addresses.refusal(f"192.0.2.{number}", float(number)) is None
    assert len(addresses) == 2
    assert addresses.refusal("192.0.2.2", 3.0) is not None
    assert addresses.refusal("192.0.2.0", 3.0) is None


def test_an_address_with_connections_is_never_forgotten() -> None:
    addresses = table(most=2)
    for number in range(2):
        addresses.open(f"192.0.2.{number}")
    assert "as many addresses" in str(addresses.refusal("192.0.2.2", 1e9))
    assert addresses.refusal("192.0.2.1", 1e9) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["ask", "open", "close"]), st.floats(0, 3)), max_size=80))
def test_all_connections_are_counted_and_the_table_stays_small(steps: list[tuple[int, str, float]]) -> None:
    addresses = table(Rate(1, 2), at_once=3, most=5)
    meters: dict[str, list[Meter]] = {f"192.0.2.{number}": [] for number in range(10)}
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
def test_what_one_client_can_choose_itself_makes_no_other_address(one: str, other: str, same: bool) -> None:
    addresses = table()
    first, second = addresses.open(one), addresses.open(other)
    assert (first.address is second.address) == same


def test_the_log_is_told_once_of_an_address() -> None:
    addresses = table(Rate(1, 1))
    addresses.refusal("192.0.2.1", 0.0)
    assert [addresses.news("192.0.2.1") for _ in range(2)] == [True, False]
    addresses.refusal("192.0.2.2", 5.0)
    assert addresses.news("192.0.2.1") is False
    assert addresses.news("192.0.2.2") is True
