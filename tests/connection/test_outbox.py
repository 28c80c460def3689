"""The outbox keeps the order of messages, and is bounded."""

from __future__ import annotations

import pytest

from mcp_actors.connection.outbox import Outbox
from mcp_actors.memory_budget import MESSAGE_OVERHEAD, MemoryBudget
from mcp_actors.ws.socket_state import SocketState
from tests.support.transport import FakeTransport


class Fixture:
    """An outbox with its transport, which counts overflows."""

    def __init__(self, max_messages: int = 3, max_bytes: int = 1000, transport: FakeTransport | None = None) -> None:
        self.transport = transport or FakeTransport()
        self.overflows = 0
        self.dropped = 0
        self.memory = MemoryBudget()
        self.congested: list[bool] = []
        limits = {"max_messages": max_messages, "max_bytes": max_bytes}
        self.outbox = Outbox(
            self.transport, self._overflow, self._drop, self.memory, "a", self.congested.append, **limits
        )

    def _overflow(self) -> None:
        self.overflows += 1

    def _drop(self) -> None:
        self.dropped += 1


def test_messages_are_sent_at_once_while_the_transport_is_writable_and_wait_in_order_while_it_is_not() -> None:
    fixture = Fixture()
    assert fixture.outbox.send(b"", b"1")
    fixture.outbox.writable(False)
    assert fixture.outbox.send(b"2", b"b")
    assert fixture.outbox.send(b"3", b"")
    assert len(fixture.outbox) == 2
    assert fixture.transport.sent == [b"1"]
    fixture.outbox.writable(True)
    assert fixture.outbox.send(b"", b"4")
    assert fixture.transport.sent == [b"1", b"2b", b"3", b"4"]
    assert len(fixture.outbox) == 0


def test_a_transport_that_fills_up_while_waiting_messages_are_sent_gets_no_more() -> None:
    class FillsUp(FakeTransport):
        def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
            super().send(prefix, body)
            fixture.outbox.writable(False)

    fixture = Fixture(transport=FillsUp())
    for body in (b"1", b"2", b"3"):
        fixture.outbox.send(b"", body)
    assert fixture.transport.sent == [b"1"]
    fixture.outbox.writable(True)
    assert fixture.transport.sent == [b"1", b"2"]
    fixture.outbox.writable(True)
    assert fixture.transport.sent == [b"1", b"2", b"3"]


@pytest.mark.parametrize(("max_messages", "max_bytes"), [(3, 1000), (1000, 6)])
def test_too_many_waiting_messages_or_bytes_overflow_once(max_messages: int, max_bytes: int) -> None:
    fixture = Fixture(max_messages, max_bytes)
    fixture.outbox.writable(False)
    assert all(fixture.outbox.send(b"x", b"y") for _ in range(3))
    assert not fixture.outbox.send(b"x", b"y")
    assert not fixture.outbox.send(b"x", b"y")
    assert fixture.overflows == 1
    fixture.outbox.writable(True)
    assert fixture.transport.sent == []


def test_sent_messages_make_room_for_others() -> None:
    fixture = Fixture(1, 4)
    for _ in range(5):
        fixture.outbox.writable(False)
        assert fixture.outbox.send(b"xx", b"xx")
        fixture.outbox.writable(True)
    assert len(fixture.transport.sent) == 5


def test_a_closed_outbox_takes_nothing() -> None:
    fixture = Fixture()
    fixture.outbox.writable(False)
    fixture.outbox.send(b"", b"waits")
    fixture.outbox.close()
    assert not fixture.outbox.send(b"", b"x")
    fixture.outbox.writable(True)
    assert (fixture.transport.sent, fixture.overflows) == ([], 0)


def test_waiting_messages_are_counted_until_they_are_sent_or_dropped() -> None:
    fixture = Fixture()
    fixture.outbox.send(b"", b"sent at once")
    assert fixture.outbox.size == 0
    fixture.outbox.writable(False)
    fixture.outbox.send(b"xx", b"yyy")
    fixture.outbox.send(b"", b"z")
    assert fixture.outbox.size == 6 + 2 * MESSAGE_OVERHEAD
    assert list(fixture.outbox.kept_bodies()) == [b"yyy", b"z"]
    fixture.outbox.writable(True)
    assert fixture.outbox.size == 0
    fixture.outbox.writable(False)
    fixture.outbox.send(b"", b"z")
    fixture.outbox.close()
    assert fixture.outbox.size == 0


def test_the_buffers_of_the_transport_are_counted_when_they_fill_and_until_it_is_lost() -> None:
    fixture = Fixture()
    fixture.transport.buffered = SocketState(5000, waiting=True, taken=7)
    fixture.outbox.writable(False)
    fixture.outbox.send(b"", b"z")
    assert fixture.memory.size_of("a") == fixture.outbox.size == 5001 + MESSAGE_OVERHEAD
    fixture.transport.buffered = SocketState(3000, waiting=True, taken=7)
    assert fixture.outbox.count_buffers().taken == 7
    fixture.transport.buffered = SocketState(2000, waiting=True, taken=8)
    assert list(fixture.outbox.kept_bodies()) == [b"z"]
    fixture.outbox.close()
    assert fixture.outbox.size == 2000
    fixture.outbox.pay()
    fixture.outbox.lost()
    fixture.outbox.pay()
    assert (fixture.memory.size, fixture.dropped) == (0, 1)


@pytest.mark.parametrize(("max_messages", "max_bytes"), [(16, 1000), (1000, 160)])
def test_an_outbox_is_congested_from_half_full_until_three_quarters_are_free(max_messages: int, max_bytes: int) -> None:
    class OneByOne(FakeTransport):
        def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> None:
            super().send(prefix, body)
            fixture.outbox.writable(False)

    fixture = Fixture(max_messages, max_bytes, OneByOne())
    fixture.outbox.writable(False)
    for number in range(1, 16):
        fixture.outbox.send(b"", b"0123456789")
        assert fixture.congested == ([True] if number > 8 else [])
        assert fixture.outbox.has_room(10) == (number < 12)
    for left in range(14, -1, -1):
        fixture.outbox.writable(True)
        assert len(fixture.outbox) == left
        assert fixture.congested == ([True, False] if left <= 4 else [True])
    assert fixture.overflows == 0


def test_a_closed_outbox_reports_nothing_more() -> None:
    fixture = Fixture(4, 1000)
    fixture.outbox.writable(False)
    for _ in range(3):
        fixture.outbox.send(b"", b"x")
    fixture.outbox.close()
    fixture.outbox.writable(True)
    assert fixture.congested == [True]
