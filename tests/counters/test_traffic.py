"""Counts of messages by type, and of errors by code."""

from __future__ import annotations

from mcp_actors.counters.traffic import Traffic
from mcp_actors.protocol.codec import error_message
from mcp_actors.protocol.errors import ErrorCode, NotInRoom
from mcp_actors.protocol.messages import Error, Pong


def test_messages_of_the_server_count_by_type_and_errors_by_code() -> None:
    traffic = Traffic()
    traffic.count_sent(Pong())
    traffic.count_sent(error_message(NotInRoom("no")))
    traffic.count_sent(error_message(NotInRoom("no")))
    assert {kind: count for kind, count in traffic.sent.items() if count} == {Pong: 1, Error: 2}
    assert dict(traffic.errors) == {ErrorCode.NOT_IN_ROOM: 2}
