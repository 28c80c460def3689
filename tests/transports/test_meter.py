"""One connection, measured: slowed first, then refused, then closed; and never while it keeps to its rates."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.errors import CloseCode, RateLimited
from mcp_actors.transports.addresses import Addresses, AddressRates
from mcp_actors.transports.meter import LONGEST_REST, LULL, REST, UNLIMITED, ConnectionRates, Meter, Slice
from mcp_actors.transports.rates import Rate

NONE = Rate(0, 1)
MESSAGES = st.builds(Rate, st.floats(1, 2000), st.integers(1, 10_000))
SENT = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=40)


def meter(
    *,
    messages: Rate = NONE,
    sizes: Rate = NONE,
    joins: Rate = NONE,
    patience: float = 10.0,
    refusals: Rate = NONE,
) -> Meter:
    """A meter of a connection that is the first of its address."""
    each = ConnectionRates(messages, sizes, joins, refusals, patience)
    together = AddressRates(NONE, NONE, NONE, NONE, 0)
    return Addresses(together, each, most=10).open("192.0.2.1")


class Read(NamedTuple):
    """What became of messages that were always there to be read."""

    taken: int
    refused: int
    slowed: float


def send(one: Meter, now: float, size: int = 1) -> bool | None:
    """Take in one message as the transport does; None if it was not looked at, else whether it is refused."""
    one.messages -= 1
    one.bytes -= size
    return one.settle(now) if one.messages < 0 or one.bytes < 0 else None


def flood(one: Meter, seconds: float, *, now: float = 0.0, size: int = 1) -> Read:
    """Send as fast as it is read."""
    end, taken, refused, slowed = now + seconds, 0, 0, 0.0
    while now < end:
        before = one.messages
        is_refused = send(one, now, size)
        taken += not is_refused
        refused += bool(is_refused)
        if before <= 0 or is_refused is not None:
            now += one.owed
            slowed += one.owed
    return Read(taken, refused, slowed)


@given(MESSAGES, SENT)
def test_a_sender_that_keeps_to_its_rate_is_never_slowed(rate: Rate, sent: list[tuple[float, int]]) -> None:
    one = meter(messages=rate)
    within = rate.burst - one.messages - 1  # what is not charged yet may be charged late
    now = due = 1.0
    for pause, count in sent:
        now += pause
        for _ in range(count):
            spent = max(due, now) + rate.interval
            if spent - now > within * rate.interval:
                break
            due = spent
            send(one, now)
            assert one.owed == 0.0


@given(st.floats(10, 2000), st.integers(200, 2000), st.floats(1, 20))
def test_a_flood_is_read_at_its_rate_and_no_faster(per_second: float, burst: int, seconds: float) -> None:
    one = meter(messages=Rate(per_second, burst), patience=0)
    read = flood(one, seconds)
    rest = per_second * max(REST, 1 / per_second)
    assert read.taken <= burst + per_second * seconds + Slice.of((Rate(per_second, burst),), ()).messages + rest + 2
    assert read.taken >= burst + per_second * seconds * 0.9 - 2 * rest - 2
    assert read.refused == 0


def test_bytes_are_measured_as_messages_are() -> None:
    one = meter(sizes=Rate(1000, 5000), patience=0)
    read = flood(one, 10, size=100)
    assert 145 <= read.taken <= 156


def test_a_message_that_costs_a_long_rest_does_not_silence_a_connection_for_longer_than_its_pings() -> None:
    one = meter(sizes=Rate(10, 10))
    send(one, 0.0, 100_000)
    assert one.owed == LONGEST_REST


def test_a_flood_that_goes_on_is_refused_until_it_has_rested() -> None:
    one = meter(messages=Rate(100, 500), patience=5)
    read = flood(one, 30)
    assert 1000 <= read.taken <= 1040
    assert read.refused > 0
    retry = one.refusal(30.0).details["retry_after_ms"] / 1000
    assert 4.9 + LULL <= retry <= 5.1 + LULL
    assert send(one, 30 + retry / 2) is True
    full = 30 + retry / 2 + one.refusal(30 + retry / 2).details["retry_after_ms"] / 1000
    assert send(one, full) is False
    assert one.owed == 0.0
    assert flood(one, 1, now=full).refused == 0


@given(st.floats(1, 2000), st.integers(1, 100))
def test_a_flood_is_refused_however_small_its_bucket_is(per_second: float, burst: int) -> None:
    one = meter(messages=Rate(per_second, burst), patience=1)
    read = flood(one, 10 + burst / per_second)
    assert read.refused > 0
    assert read.taken <= burst + per_second * (1 + LONGEST_REST) + 2


def test_without_a_limit_to_patience_a_flood_is_slowed_for_ever() -> None:
    assert flood(meter(messages=Rate(100, 10), patience=0), 1000).refused == 0


def test_who_is_refused_too_often_is_closed_and_who_is_now_and_then_is_not() -> None:
    one = meter(joins=Rate(1, 1), refusals=Rate(3 / 60, 3))
    one.join(0.0)
    errors = [_refused(one, 0.1) for _ in range(3)]
    assert [error.close_code for error in errors] == [None, None, CloseCode.RATE_LIMITED]
    patient = meter(joins=Rate(0.01, 1), refusals=Rate(3 / 60, 3))
    patient.join(0.0)
    assert {_refused(patient, now).close_code for now in (5.0, 26.0, 47.0, 68.0, 89.0)} == {None}


def _refused(one: Meter, now: float) -> RateLimited:
    with pytest.raises(RateLimited) as error:
        one.join(now)
    return error.value


def test_a_join_too_many_is_refused_with_the_time_after_which_it_is_not() -> None:
    one = meter(joins=Rate(2, 3))
    for _ in range(3):
        one.join(10.0)
    assert _refused(one, 10.125).details == {"retry_after_ms": 375}
    one.join(10.5)
    assert _refused(one, 10.5).details == {"retry_after_ms": 500}


def test_connections_of_one_address_share_what_it_may_send() -> None:
    each = ConnectionRates(NONE, NONE, NONE, NONE, 10)
    table = Addresses(AddressRates(NONE, Rate(8, 64), NONE, Rate(1, 2), 0), each, most=10)
    a, b, other = table.open("192.0.2.1"), table.open("192.0.2.1"), table.open("192.0.2.2")
    for _ in range(32):
        send(a, 0.0)
        send(b, 0.0)
    assert (a.owed, b.owed) == (0.0, 0.0)
    for _ in range(3):
        send(a, 0.0)
    send(other, 0.0)
    assert a.owed > 0
    assert other.owed == 0
    a.join(0.0)
    b.join(0.0)
    _refused(a, 0.0)
    other.join(0.0)


def test_what_was_sent_before_a_connection_ended_counts_for_its_address() -> None:
    each = ConnectionRates(NONE, NONE, NONE, NONE, 10)
    table = Addresses(AddressRates(NONE, Rate(1, 640), NONE, NONE, 0), each, most=10)
    for _ in range(80):
        one = table.open("192.0.2.1")
        for _ in range(8):
            assert send(one, 0.0) is None
        table.close(one, 0.0)
    one = table.open("192.0.2.1")
    while send(one, 0.0) is None:
        pass
    assert one.owed > 0


def test_without_limits_nothing_is_looked_at() -> None:
    one = meter()
    assert (one.messages, one.bytes) == (UNLIMITED, UNLIMITED)
    assert all(send(one, 0.0, 65_536) is None for _ in range(1000))


def test_small_limits_are_kept_to_the_message() -> None:
    assert Slice.of((Rate(10, 10), Rate(1000, 50_000)), (Rate(100, 64_000),)) == (1, 1000)
    assert Slice.of((Rate(500, 5000), Rate(5000, 50_000)), (Rate(2**20, 2**23), NONE)) == (32, 65_536)
    assert Slice.of((NONE,), (NONE,)) == (UNLIMITED, UNLIMITED)


def test_a_connection_costs_few_bytes() -> None:
    one = meter(messages=Rate(500, 5000), sizes=Rate(1e6, 1e7), joins=Rate(5, 100))
    send(one, 0.0, 300)
    own = {id(value): sys.getsizeof(value) for name in Meter.__slots__ if _is_own(value := getattr(one, name))}
    assert sys.getsizeof(one) + sum(own.values()) <= 400


def _is_own(value: object) -> bool:
    return isinstance(value, int | float) and not (isinstance(value, int) and value <= 256)
