from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_actors.connection.address import Address, AddressRates
from mcp_actors.connection.token_bucket import TokenBucket

RATES = AddressRates(TokenBucket(1, 2), TokenBucket(10, 20), TokenBucket(100, 200), TokenBucket(1, 2), 0)


def test_connections_beyond_the_burst_wait_and_are_not_counted() -> None:
    address = Address("192.0.2.1", RATES)
    assert [address.connect(0.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(1.0)]
    assert address.connect(1.0) == 0.0


def test_messages_bytes_and_deliveries_are_charged_separately() -> None:
    address = Address("192.0.2.1", replace(RATES, deliveries=TokenBucket(1000, 2000)))
    assert address.charge(20, 0, 2000, 0.0) <= 0
    assert address.charge(10, 0, 0, 0.0) == pytest.approx(1.0)
    assert address.charge(0, 500, 0, 0.0) == pytest.approx(3.0)
    assert address.charge(0, 0, 5000, 0.0) == pytest.approx(5.0)
    assert address.full_at == pytest.approx(7.0)


def test_joins_wait_until_what_earlier_ones_sent_is_made_up_for() -> None:
    address = Address("192.0.2.1", replace(RATES, deliveries=TokenBucket(1000, 2000)))
    address.charge(0, 0, 5000, 0.0)
    assert address.join_wait(0.0) == pytest.approx(3.0)
    assert address.join_wait(3.5) <= 0


def test_joins_beyond_the_burst_wait() -> None:
    address = Address("192.0.2.1", RATES)
    waits = []
    for _ in range(3):
        waits.append(address.join_wait(0.0))
        address.joined(0.0)
    assert [wait > 0 for wait in waits] == [False, False, True]


def test_an_address_is_full_when_its_slowest_bucket_is() -> None:
    address = Address("192.0.2.1", RATES)
    address.charge(10, 0, 0, 5.0)
    address.joined(5.0)
    assert address.full_at == pytest.approx(6.0)
