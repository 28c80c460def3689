"""The requests of PeerJS clients."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from msgspec import Raw, Struct

from mcp_actors.protocol.errors import BadMessage, MessageTooBig
from mcp_actors.protocol.identifiers import PeerId
from mcp_actors.protocol.surrogates import replace_lone_surrogates


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


class Decoder:
    """Decodes and validates messages of up to `max_bytes`. The payload is checked to be JSON, and not decoded."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._decode = msgspec.json.Decoder(Message).decode
        self._decode_any = msgspec.json.Decoder(_Any).decode

    def decode(self, frame: bytes) -> Request:
        """Decode one message. Raises `BadMessage` and `MessageTooBig`."""
        if len(frame) > self._max_bytes:
            text = f"The message has {len(frame)} bytes; {self._max_bytes} are allowed."
            raise MessageTooBig(text, limit=self._max_bytes)
        try:
            return self._decode(frame)
        except msgspec.ValidationError:
            return self._decode_unusual(frame)
        except msgspec.DecodeError as error:
            whole = replace_lone_surrogates(frame)
            if whole == frame:
                raise BadMessage(f"The message is not JSON: {error}.") from None
            return self._decode_unusual(whole)
        except RecursionError:
            raise BadMessage("The message is nested too deeply.") from None

    def _decode_unusual(self, frame: bytes) -> Request:
        """Leave out unknown fields, and replace halves of surrogate pairs, as the text is passed on."""
        try:
            found = self._decode_any(frame)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadMessage(f"The message is wrong: {error}.") from None
        message = Message(found.type, found.dst, found.payload)
        return Rewritten(message, _text(message))


def _text(message: Message) -> bytes:
    fields = {"type": message.type, "dst": message.dst}
    return msgspec.json.encode({**fields, "payload": message.payload} if bytes(message.payload) else fields)
