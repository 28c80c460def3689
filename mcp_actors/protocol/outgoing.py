"""Messages on their way to clients. Each is encoded once per dialect, however many clients receive it."""

from __future__ import annotations

from typing import Protocol

from msgspec import UNSET, Struct

from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.protocol.messages import Message, ServerMessage, Targeted

Encoded = tuple[bytes, bytes]
"""The head and the body of an encoded message. The body is shared by all receivers and is never copied for one."""


DELIVERY_BYTES = 1024
"""Bytes to one receiver that cost as much as one more receiver: about as much CPU, and far more of the network."""


def weight(size: int) -> int:
    """The deliveries for which a message of so many bytes to one receiver counts: one, and one more for each KiB."""
    return 1 + size // DELIVERY_BYTES


class Dialect(Protocol):
    """A wire format: how messages to one kind of client are encoded.

    A message with an empty body has no meaning in the dialect, and is not sent.
    """

    def encode(self, message: ServerMessage, offset: bytes) -> Encoded:
        """Encode a message of the server; `offset` is its stream offset, empty if it has none."""

    def relay(self, message: Relayed) -> Encoded:
        """Encode another client's message."""

    def prefix(self, head: bytes, number: int | None) -> bytes:
        """The bytes in front of the body: the head, with the delivery number if there is one."""


class Outgoing(Struct, gc=False):
    """A message of the server; `offset` is its stream offset, empty if it has none."""

    message: ServerMessage
    offset: bytes = b""
    _encoded: dict[Dialect, Encoded] | None = None

    @property
    def room(self) -> RoomId | None:
        """The room that the message is about; None if it is about none."""
        return getattr(self.message, "room", UNSET) or None

    def encoded(self, dialect: Dialect) -> Encoded:
        """The head and the body in a dialect."""
        if self._encoded is None:
            self._encoded = {}
        found = self._encoded.get(dialect)
        if found is None:
            found = self._encoded[dialect] = dialect.encode(self.message, self.offset)
        return found


class Relayed(Struct, frozen=True, gc=False):
    """Another client's message in its own text, which is neither decoded nor encoded again.

    `head` holds the fields that the server adds (`sender`, `negotiation`, `at`), `body` the client's text after its
    opening brace. `request` is None if the sender is on another node, and `room` if it is not known.
    """

    head: bytes
    body: bytes
    request: Targeted | Message | None = None
    room: RoomId | None = None

    def encoded(self, dialect: Dialect) -> Encoded:
        """The head and the body in a dialect."""
        return dialect.relay(self)

    @property
    def frame(self) -> bytes:
        """The whole message as JSON, as other nodes receive it."""
        return b"{" + self.head + self.body
