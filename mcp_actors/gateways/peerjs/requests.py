"""The requests of PeerJS clients."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from mcp_actors.gateways.decoding import GatewayDecoder
from mcp_actors.protocol.identifiers import PeerId


class Message(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A message in the client's own text, with no fields but these. `dst`: the peer that it is for."""

    id: ClassVar[None] = None
    type: str
    dst: PeerId | None = None
    payload: Raw = Raw()


class Rewritten(Struct, frozen=True, gc=False):
    """A message that had other fields, such as a `src` of its own, and its text without them."""

    id: ClassVar[None] = None
    message: Message
    text: bytes


class _Any(Struct):
    type: str
    dst: PeerId | None = None
    payload: Raw = Raw()


Request = Message | Rewritten


class Decoder(GatewayDecoder[Request]):
    """Decodes and validates messages. The payload is checked to be JSON, and not decoded."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._decode = msgspec.json.Decoder(Message).decode
        self._decode_any = msgspec.json.Decoder(_Any).decode

    def _decode_usual(self, frame: bytes) -> Request:
        return self._decode(frame)

    def _decode_unusual(self, frame: bytes) -> Request:
        """Leave out unknown fields, and replace halves of surrogate pairs, as the text is passed on."""
        found = self._decode_any(frame)
        message = Message(found.type, found.dst, found.payload)
        return Rewritten(message, _text(message))


def _text(message: Message) -> bytes:
    fields = {"type": message.type, "dst": message.dst}
    return msgspec.json.encode({**fields, "payload": message.payload} if bytes(message.payload) else fields)
