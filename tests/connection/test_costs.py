"""The charges of a client, and how long it is not read from."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from mcp_actors.connection.address import AddressRates
from mcp_actors.connection.connection_limits import ConnectionRates
from mcp_actors.connection.costs import LONG_MESSAGE, Costs
from mcp_actors.connection.ip_limits import IpLimits
from mcp_actors.connection.pace import NO_PACE, Pace
from mcp_actors.connection.token_bucket import NO_LIMIT, TokenBucket

if TYPE_CHECKING:
    from mcp_actors.connection.reading import Reading


class RecordedReading:
    """Records pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def pause_for(self, seconds: float) -> None:
        self.pauses.append(seconds)


def costs(
    deliveries: TokenBucket = NO_LIMIT, sizes: TokenBucket = NO_LIMIT, pace: Pace = NO_PACE
) -> tuple[Costs, list[float]]:
    each = ConnectionRates(NO_LIMIT, sizes, NO_LIMIT, NO_LIMIT, NO_LIMIT, 100, deliveries, pace)
    together = AddressRates(NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT, 0)
    limits = IpLimits(together, each, max_addresses=10).open("192.0.2.1")
    reading = RecordedReading()
    return Costs(limits, cast("Reading", reading), lambda: 0.0), reading.pauses


def test_a_client_is_read_on_after_a_message_to_few_and_in_its_next_turn_after_one_to_many() -> None:
    one, pauses = costs()
    one.charge_delivery(LONG_MESSAGE - 1, 100)
    assert pauses == []
    one.charge_delivery(LONG_MESSAGE, 100)
    one.charge_delivery(1, LONG_MESSAGE * 1024)
    one.charge_reply(LONG_MESSAGE * 1024)
    one.charge_reply(100, LONG_MESSAGE)
    assert pauses == [0.0] * 4


def test_clients_that_send_to_many_wait_for_each_other_and_those_that_are_replied_to_do_not() -> None:
    pace = Pace(1000)
    (first, pauses), (second, others) = costs(pace=pace), costs(pace=pace)
    first.charge_delivery(100, 100)
    second.charge_delivery(200, 100)
    first.charge_delivery(10, 100)
    second.charge_reply(100_000, 500)
    assert pauses == [pytest.approx(0.1)]
    assert others == [pytest.approx(0.3), 0.0]


def test_a_client_that_causes_too_many_deliveries_is_not_read_until_they_are_made_up_for() -> None:
    one, pauses = costs(TokenBucket(100, 640))
    for _ in range(9):
        one.charge_delivery(100, 100)
    assert pauses[:6] == [0.0] * 6
    assert pauses[6:] == sorted(pauses[6:])
    assert 1 < pauses[-1] < 3


def test_messages_that_wait_for_slow_receivers_slow_their_sender() -> None:
    one, pauses = costs(sizes=TokenBucket(2**20, 2**23))
    for _ in range(6):
        one.charge_waiting(65_536)
    assert pauses == [0.0, 0.0, 0.0, 0.0, 2.0, 4.0]
