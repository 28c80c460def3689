"""The limits of one connection: slowed first, then refused, then closed; and never within its rates."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.connection.address import AddressRates
from mcp_actors.connection.connection_limits import (
    MAX_DELAY,
    MIN_DELAY,
    RECOVERY,
    UNLIMITED,
    WAITING_COST,
    Allowance,
    ConnectionLimits,
    ConnectionRates,
)
from mcp_actors.connection.ip_limits import IpLimits
from mcp_actors.connection.token_bucket import TokenBucket
from mcp_actors.protocol.errors import CloseCode, RateLimited
from mcp_actors.settings import ConnectionSettings

NONE = TokenBucket(0, 1)
MESSAGES = st.builds(TokenBucket, st.floats(1, 2000), st.integers(1, 10_000))
SENT = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=40)


def limits(
    *,
    messages: TokenBucket = NONE,
    sizes: TokenBucket = NONE,
    joins: TokenBucket = NONE,
    updates: TokenBucket = NONE,
    deliveries: TokenBucket = NONE,
    patience: float = 10.0,
    refusals: TokenBucket = NONE,
) -> ConnectionLimits:
    """Return the limits of a connection that is the only one of its address."""
    each = ConnectionRates(messages, sizes, joins, updates, refusals, patience, deliveries)
    together = AddressRates(NONE, NONE, NONE, NONE, 0)
    return IpLimits(together, each, max_addresses=10).open("192.0.2.1")


def allowance(messages: TokenBucket) -> int:
    """Return how many messages are charged at once."""
    each = ConnectionRates(messages, NONE, NONE, NONE, NONE, 10)
    return Allowance.of(each, AddressRates(NONE, NONE, NONE, NONE, 0)).messages


class Read(NamedTuple):
    """The outcome of a flood: messages handled and refused, and seconds slowed."""

    taken: int
    refused: int
    slowed: float


def send(one: ConnectionLimits, now: float, size: int = 1) -> bool | None:
    """Count one message as a connection does; None if it was not charged, else whether it is refused."""
    one.messages -= 1
    one.bytes -= size
    return one.charge(now) if one.messages < 0 or one.bytes < 0 else None


def flood(one: ConnectionLimits, seconds: float, *, now: float = 0.0, size: int = 1) -> Read:
    """Send as fast as the messages are read."""
    end, taken, refused, slowed = now + seconds, 0, 0, 0.0
    while now < end:
        before = one.messages
        is_refused = send(one, now, size)
        taken += not is_refused
        refused += bool(is_refused)
        if before <= 0 or is_refused is not None:
            now += one.delay
            slowed += one.delay
    return Read(taken, refused, slowed)


@given(MESSAGES, SENT)
def test_a_sender_within_its_rate_is_never_slowed(rate: TokenBucket, sent: list[tuple[float, int]]) -> None:
    one = limits(messages=rate)
    within = rate.burst - one.messages - 1  # the allowance may be charged late
    now = due = 1.0
    for pause, count in sent:
        now += pause
        for _ in range(count):
            spent = max(due, now) + rate.interval
            if spent - now > within * rate.interval:
                break
            due = spent
            send(one, now)
            assert one.delay == 0.0


@given(st.floats(10, 2000), st.integers(200, 2000), st.floats(1, 20))
def test_a_flood_is_read_at_its_rate_and_no_faster(per_second: float, burst: int, seconds: float) -> None:
    one = limits(messages=TokenBucket(per_second, burst), patience=0)
    read = flood(one, seconds)
    rest = per_second * max(MIN_DELAY, 1 / per_second)
    assert read.taken <= burst + per_second * seconds + allowance(messages=TokenBucket(per_second, burst)) + rest + 2
    assert read.taken >= burst + per_second * seconds * 0.9 - 2 * rest - 2
    assert read.refused == 0


def test_bytes_are_limited_as_messages_are() -> None:
    one = limits(sizes=TokenBucket(1000, 5000), patience=0)
    read = flood(one, 10, size=100)
    assert 145 <= read.taken <= 156


def test_a_delay_is_shorter_than_the_time_between_pings() -> None:
    one = limits(sizes=TokenBucket(10, 10))
    send(one, 0.0, 100_000)
    assert one.delay == MAX_DELAY


def test_a_flood_that_goes_on_is_refused_until_its_buckets_are_full() -> None:
    one = limits(messages=TokenBucket(100, 500), patience=5)
    read = flood(one, 30)
    assert 1000 <= read.taken <= 1040
    assert read.refused > 0
    retry = one.refusal(30.0).details["retry_after_ms"] / 1000
    assert 4.9 + RECOVERY <= retry <= 5.1 + RECOVERY
    assert send(one, 30 + retry / 2) is True
    full = 30 + retry / 2 + one.refusal(30 + retry / 2).details["retry_after_ms"] / 1000
    assert send(one, full) is False
    assert one.delay == 0.0
    assert flood(one, 1, now=full).refused == 0


@given(st.floats(1, 2000), st.integers(1, 100))
def test_a_flood_is_refused_however_small_its_bucket_is(per_second: float, burst: int) -> None:
    one = limits(messages=TokenBucket(per_second, burst), patience=1)
    read = flood(one, 10 + burst / per_second)
    assert read.refused > 0
    assert read.taken <= burst + per_second * (1 + MAX_DELAY) + 2


def test_without_patience_a_flood_is_slowed_for_ever() -> None:
    assert flood(limits(messages=TokenBucket(100, 10), patience=0), 1000).refused == 0


def test_a_connection_is_closed_when_it_is_refused_too_often_and_not_for_a_refusal_now_and_then() -> None:
    one = limits(joins=TokenBucket(1, 1), refusals=TokenBucket(3 / 60, 3))
    one.join(0.0)
    errors = [_refused(one, 0.1) for _ in range(3)]
    assert [error.close_code for error in errors] == [None, None, CloseCode.RATE_LIMITED]
    patient = limits(joins=TokenBucket(0.01, 1), refusals=TokenBucket(3 / 60, 3))
    patient.join(0.0)
    assert {_refused(patient, now).close_code for now in (5.0, 26.0, 47.0, 68.0, 89.0)} == {None}


def _refused(one: ConnectionLimits, now: float) -> RateLimited:
    with pytest.raises(RateLimited) as error:
        one.join(now)
    return error.value


def test_a_refused_join_says_when_to_try_again() -> None:
    one = limits(joins=TokenBucket(2, 3))
    for _ in range(3):
        one.join(10.0)
    assert _refused(one, 10.125).details == {"retry_after_ms": 375}
    one.join(10.5)
    assert _refused(one, 10.5).details == {"retry_after_ms": 500}


def test_updates_above_their_rate_are_refused_and_not_counted() -> None:
    one = limits(updates=TokenBucket(2, 3), joins=TokenBucket(1, 1))
    for _ in range(3):
        one.update(10.0)
    with pytest.raises(RateLimited, match="metadata") as refused:
        one.update(10.125)
    assert refused.value.details == {"retry_after_ms": 375}
    one.join(10.125)
    one.update(10.5)


def test_connections_of_one_address_share_its_rates() -> None:
    each = ConnectionRates(NONE, NONE, NONE, NONE, NONE, 10)
    addresses = IpLimits(AddressRates(NONE, TokenBucket(8, 64), NONE, TokenBucket(1, 2), 0), each, max_addresses=10)
    a, b, other = addresses.open("192.0.2.1"), addresses.open("192.0.2.1"), addresses.open("192.0.2.2")
    for _ in range(32):
        send(a, 0.0)
        send(b, 0.0)
    assert (a.delay, b.delay) == (0.0, 0.0)
    for _ in range(3):
        send(a, 0.0)
    send(other, 0.0)
    assert a.delay > 0
    assert other.delay == 0
    a.join(0.0)
    b.join(0.0)
    _refused(a, 0.0)
    other.join(0.0)


def test_an_address_is_charged_for_what_a_closed_connection_sent() -> None:
    each = ConnectionRates(NONE, NONE, NONE, NONE, NONE, 10)
    addresses = IpLimits(AddressRates(NONE, TokenBucket(1, 640), NONE, NONE, 0), each, max_addresses=10)
    for _ in range(80):
        one = addresses.open("192.0.2.1")
        for _ in range(8):
            assert send(one, 0.0) is None
        addresses.close(one, 0.0)
    one = addresses.open("192.0.2.1")
    while send(one, 0.0) is None:
        pass
    assert one.delay > 0


def test_a_message_counts_for_each_receiver_and_for_each_kib_to_each() -> None:
    one = limits()
    assert [one.deliver(499, size) for size in (0, 200, 1024, 65_536)] == [499, 499, 998, 499 * 65]


def broadcast(one: ConnectionLimits, seconds: float, receivers: int, *, now: float = 0.0) -> Read:
    """Send small messages to many as fast as they are read."""
    end, taken, refused, slowed = now + seconds, 0, 0, 0.0
    while now < end:
        is_refused = one.messages <= 0 and one.charge(now)
        taken += not is_refused
        refused += bool(is_refused)
        if not is_refused:
            one.messages -= 1
            one.deliver(receivers, 100)
            if one.deliveries < 0:
                one.charge(now)
        now += max(one.delay, 0.001)
        slowed += one.delay
    return Read(taken, refused, slowed)


def test_a_sender_to_many_is_slowed_by_their_number_and_refused_if_it_goes_on() -> None:
    rate = TokenBucket(20_000, 100_000)
    slowed = broadcast(limits(deliveries=rate, patience=0), 20, 499)
    assert (100_000 + 20 * 20_000) / 499 * 0.9 < slowed.taken < (100_000 + 21 * 20_000) / 499 + 30
    assert slowed.refused == 0
    refused = broadcast(limits(deliveries=rate), 20, 499)
    assert refused.taken < (100_000 + 12 * 20_000) / 499 + 30
    assert refused.refused > 0


def test_cursors_and_chat_in_a_room_of_500_are_never_slowed_by_default() -> None:
    one = limits(deliveries=TokenBucket(ConnectionSettings().delivery_rate, ConnectionSettings().delivery_burst))
    for tick in range(1200):  # two minutes of a cursor, a line of chat each second, and a document each minute
        now = tick / 10
        one.deliver(499, 300)
        if tick % 10 == 0:
            one.deliver(499, 1000)
        if tick % 600 == 0:
            one.deliver(499, 60_000)
        if one.deliveries < 0:
            assert not one.charge(now)
            assert one.delay == 0.0


def test_joins_wait_until_the_rosters_of_earlier_ones_are_made_up_for() -> None:
    one = limits(joins=TokenBucket(5, 100), deliveries=TokenBucket(1000, 2000))
    one.join(0.0)
    one.deliver(1, 5000 * 1024)
    one.charge(0.0)
    assert 3000 <= _refused(one, 0.0).details["retry_after_ms"] <= 3002
    one.join(3.5)


def test_joins_that_were_made_without_asking_are_owed() -> None:
    one = limits(joins=TokenBucket(2, 4))
    one.joined(6, 0.0)
    assert _refused(one, 0.0).details == {"retry_after_ms": 1500}
    one.join(1.5)


def test_messages_that_wait_for_a_slow_receiver_cost_their_sender_many_times_their_bytes_and_its_address_nothing() -> (
    None
):
    each = ConnectionRates(NONE, TokenBucket(2**20, 2**23), NONE, NONE, NONE, 10)
    addresses = IpLimits(AddressRates(NONE, NONE, TokenBucket(2**20, 2**23), NONE, 0), each, max_addresses=10)
    flooder, other = addresses.open("192.0.2.1"), addresses.open("192.0.2.1")
    for number in range(1, 6):
        flooder.charge_waiting(65_536, 0.0)
        assert (flooder.delay > 0) == (number * 65_536 * WAITING_COST > 2**23)
    send(other, 0.0, 65_537)
    assert other.delay == 0.0
    assert flooder.delay <= MAX_DELAY


def test_without_rates_nothing_is_charged() -> None:
    one = limits()
    assert (one.messages, one.bytes, one.deliveries) == (UNLIMITED, UNLIMITED, UNLIMITED)
    assert all(send(one, 0.0, 65_536) is None for _ in range(1000))


def test_an_allowance_is_a_small_part_of_the_smallest_bucket() -> None:
    small = ConnectionRates(TokenBucket(10, 10), TokenBucket(100, 64_000), NONE, NONE, NONE, 10, TokenBucket(10, 640))
    large = AddressRates(NONE, TokenBucket(5000, 50_000), NONE, NONE, 0, TokenBucket(1, 500_000))
    usual = ConnectionRates(TokenBucket(500, 5000), TokenBucket(2**20, 2**23), NONE, NONE, NONE, 10)
    without = AddressRates(NONE, NONE, NONE, NONE, 0)
    assert Allowance.of(small, large) == (1, 1000, 10)
    assert Allowance.of(usual, large) == (32, 65_536, 512)
    assert Allowance.of(replace(usual, messages=NONE, bytes=NONE), without) == (UNLIMITED, UNLIMITED, UNLIMITED)


def test_a_connection_costs_few_bytes() -> None:
    one = limits(messages=TokenBucket(500, 5000), sizes=TokenBucket(1e6, 1e7), joins=TokenBucket(5, 100))
    send(one, 0.0, 300)
    names = getattr(ConnectionLimits, "__slots__", ())  # compiled, the object itself holds its numbers
    own = {id(value): sys.getsizeof(value) for name in names if _is_own(value := getattr(one, name))}
    assert sys.getsizeof(one) + sum(own.values()) <= 400


def _is_own(value: object) -> bool:
    return isinstance(value, int | float) and not (isinstance(value, int) and value <= 256)
