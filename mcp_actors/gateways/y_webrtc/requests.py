"""The requests of clients of y-webrtc and of trystero."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from mcp_actors.gateways.decoding import GatewayDecoder
from mcp_actors.protocol.errors import BadMessage

_NAME = re.compile(r"[!#-\[\]-~]{1,128}", re.ASCII)
"""Names that are written in JSON as they are; a client with another one has none."""


class Subscribe(Struct, frozen=True, gc=False):
    """Asks for what is published in topics."""

    id: ClassVar[None] = None
    topics: tuple[str, ...]


class Unsubscribe(Struct, frozen=True, gc=False):
    """Asks for no more of topics."""

    id: ClassVar[None] = None
    topics: tuple[str, ...]


class Publish(Struct, frozen=True, gc=False):
    """A message of a client of y-webrtc. `body`: its text after the opening brace.

    `sender`, `to`: how it names itself and the one receiver; empty if there is none, or it cannot be read.
    """

    id: ClassVar[None] = None
    topic: str
    sender: str
    to: str
    body: bytes


class Post(Struct, frozen=True, gc=False):
    """A message of a client of trystero, and the text that others are sent."""

    id: ClassVar[None] = None
    topic: str
    payload: Raw
    text: bytes


class Ping(Struct, frozen=True, gc=False):
    """Asks for a pong."""

    id: ClassVar[None] = None


class Unknown(Struct, frozen=True, gc=False):
    """A message of a type that later clients may have. It is ignored."""

    id: ClassVar[None] = None


Request = Subscribe | Unsubscribe | Publish | Post | Ping | Unknown


class _Signal(Struct, gc=False):
    sender: str | None = msgspec.field(name="from", default=None)
    to: str | None = None


class _Publish(Struct, tag_field="type", tag="publish", forbid_unknown_fields=True, gc=False):
    """A publication in the text of y-webrtc, with no fields but these."""

    topic: str
    data: _Signal | str


class _Message(Struct):
    """Any message, with any fields."""

    type: str
    topic: str | None = None
    topics: list[Any] | None = None
    data: Raw | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET


class Decoder(GatewayDecoder[Request]):
    """Decodes and validates messages. Payloads are checked to be JSON, and not decoded."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._decode_publish = msgspec.json.Decoder(_Publish).decode
        self._decode_message = msgspec.json.Decoder(_Message).decode
        self._decode_signal = msgspec.json.Decoder(_Signal).decode

    def _decode_usual(self, frame: bytes) -> Request:
        found = self._decode_publish(frame)
        return _publish(found.topic, found.data, frame[frame.index(b"{") + 1 :])

    def _decode_unusual(self, frame: bytes) -> Request:
        message = self._decode_message(frame)
        match message.type:
            case "subscribe":
                return Subscribe(_topics(message))
            case "unsubscribe":
                return Unsubscribe(_topics(message))
            case "publish":
                return self._published(message)
            case "ping":
                return Ping()
        return Unknown()

    def _published(self, message: _Message) -> Request:
        """Leave out unknown fields, as the text is passed on."""
        topic = message.topic
        if topic is None:
            raise BadMessage("The message is wrong: `topic` is missing.", field="topic")
        if isinstance(message.data, Raw):
            text = msgspec.json.encode({"type": "publish", "topic": topic, "data": message.data})
            return _publish(topic, self._signal(message.data), text[1:])
        if isinstance(message.payload, Raw):
            text = msgspec.json.encode({"topic": topic, "payload": message.payload})
            return Post(topic, message.payload, text)
        raise BadMessage("The message is wrong: `data` is missing.", field="data")

    def _signal(self, data: Raw) -> _Signal | str:
        """The sender and the receiver of a publication, if they can be read."""
        try:
            return self._decode_signal(data)
        except msgspec.DecodeError:
            return ""


def _publish(topic: str, data: _Signal | str, body: bytes) -> Publish:
    if isinstance(data, str):
        return Publish(topic, "", "", body)
    return Publish(topic, _name(data.sender), _name(data.to), body)


def _name(text: str | None) -> str:
    return text if text is not None and _NAME.fullmatch(text) else ""


def _topics(message: _Message) -> tuple[str, ...]:
    topics = message.topics if message.topic is None else [message.topic]
    if topics is None:
        raise BadMessage("The message is wrong: `topics` is missing.", field="topics")
    if not all(isinstance(topic, str) for topic in topics):
        raise BadMessage("The message is wrong: `topics` has something other than strings.", field="topics")
    return tuple(dict.fromkeys(topics))
