from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.codec import JSON, JsonDialect, relayed, sender_stamp
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.protocol.messages import RoomLocked
from mcp_actors.protocol.outgoing import Outgoing

if TYPE_CHECKING:
    from mcp_actors.protocol.messages import ServerMessage
    from mcp_actors.protocol.outgoing import Encoded

LOCKED = RoomLocked(room=RoomId("r"))


class Counting(JsonDialect):
    """A dialect that counts how often it encodes."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, message: ServerMessage, offset: bytes) -> Encoded:
        self.encoded += 1
        return super().encode(message, offset)


def test_a_message_is_encoded_once_per_dialect() -> None:
    one, other = Counting(), Counting()
    message = Outgoing(LOCKED, b"1-0.0@n")
    bodies = {id(message.encoded(dialect)[1]) for dialect in (one, other, one, one, other)}
    assert (one.encoded, other.encoded, len(bodies)) == (1, 1, 2)
    assert message.encoded(one) == JSON.encode(LOCKED, b"1-0.0@n")


def test_the_receivers_of_a_relayed_message_share_its_body() -> None:
    message = relayed(sender_stamp("ana"), b'{"type":"message"}')
    assert message.encoded(JSON)[1] is message.encoded(JSON)[1]
    assert message.frame == b'{"sender":"ana","type":"message"}'
