"""The common part of decoding the messages of other protocols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import msgspec

from mcp_actors.protocol.errors import BadMessage, MessageTooBig
from mcp_actors.protocol.surrogates import replace_lone_surrogates

RequestT = TypeVar("RequestT")


class GatewayDecoder(ABC, Generic[RequestT]):
    """Decodes messages of up to `max_bytes`: those that clients write fast, and all others with more tolerance."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def decode(self, frame: bytes) -> RequestT:
        """Decode one message. Raises `BadMessage` and `MessageTooBig`."""
        if len(frame) > self._max_bytes:
            text = f"The message has {len(frame)} bytes; {self._max_bytes} are allowed."
            raise MessageTooBig(text, limit=self._max_bytes)
        try:
            return self._decode_usual(frame)
        except msgspec.ValidationError:
            return self._decode_other(frame)
        except msgspec.DecodeError as error:
            whole = replace_lone_surrogates(frame)
            if whole == frame:
                raise BadMessage(f"The message is not JSON: {error}.") from None
            return self._decode_other(whole)
        except RecursionError:
            raise BadMessage("The message is nested too deeply.") from None

    def _decode_other(self, frame: bytes) -> RequestT:
        try:
            return self._decode_unusual(frame)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadMessage(f"The message is wrong: {error}.") from None

    @abstractmethod
    def _decode_usual(self, frame: bytes) -> RequestT:
        """Decode a message as clients write it. Raises `msgspec.DecodeError` and `RecursionError`."""

    @abstractmethod
    def _decode_unusual(self, frame: bytes) -> RequestT:
        """Decode any other message. Raises the same, and `BadMessage`."""
