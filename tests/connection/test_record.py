"""The record of a connection: its bytes are counted once, whenever and however often that is done."""

from __future__ import annotations

from mcp_actors.connection.access_log import AccessLog
from mcp_actors.connection.counters import LOST, NO_CODE, ConnectionCounters
from mcp_actors.connection.record import Record
from mcp_actors.protocol.errors import CloseCode
from tests.support.transport import FakeTransport


class Fixture:
    """A record of a connection on a transport double."""

    def __init__(self) -> None:
        self.counters, self.transport = ConnectionCounters(), FakeTransport()
        self.record = Record(self.counters, AccessLog(), self.transport, "signaling", "192.0.2.1", 10.0)


def test_bytes_are_counted_once() -> None:
    one = Fixture()
    one.transport.received, one.transport.written = 100, 1000
    assert one.record.count_bytes() == one.record.count_bytes() == (100, 1000)
    one.transport.received += 11
    one.record.over(13.0, frames=5, sent=2)
    assert (one.counters.received_bytes, one.counters.sent_bytes) == (111, 1000)
    assert one.counters.seconds.sum == 3.0


def test_the_end_is_counted_by_what_ended_the_connection() -> None:
    one = Fixture()
    one.record.over(11.0, frames=0, sent=0)
    assert dict(one.counters.closed) == {LOST: 1}
    one = Fixture()
    one.record.closing(CloseCode.REPLACED)
    one.record.over(11.0, frames=0, sent=0)
    assert dict(one.counters.closed) == {CloseCode.REPLACED: 1}
    one = Fixture()
    one.record.closed_by_client(None)
    one.record.over(11.0, frames=0, sent=0)
    assert dict(one.counters.closed) == {NO_CODE: 1}
    assert one.counters.open["signaling"] == 0
