"""The common part of decoding, with the decoder of each gateway."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.gateways.peerjs import requests as peerjs
from mcp_actors.gateways.y_webrtc import requests as y_webrtc
from mcp_actors.protocol.errors import BadMessage, MessageTooBig

if TYPE_CHECKING:
    from types import ModuleType

    from mcp_actors.gateways.decoding import GatewayDecoder

each_gateway = pytest.mark.parametrize("gateway", [peerjs, y_webrtc], ids=["peerjs", "y-webrtc"])


def decode(gateway: ModuleType, frame: bytes) -> object:
    decoder: GatewayDecoder[object] = gateway.Decoder(1000)
    return decoder.decode(frame)


@each_gateway
def test_a_message_that_is_too_long_is_refused(gateway: ModuleType) -> None:
    with pytest.raises(MessageTooBig, match="1001 bytes; 1000 are allowed"):
        decode(gateway, b" " * 1001)


@each_gateway
@pytest.mark.parametrize("frame", [b"", b"{", b"[]", b"null", b'"OFFER"', b'{"type":5}', b"\xff", b"[" * 900])
def test_a_frame_that_is_no_message_is_an_error_that_says_so(gateway: ModuleType, frame: bytes) -> None:
    with pytest.raises(BadMessage, match=r"^The message is "):
        decode(gateway, frame)


@each_gateway
@given(frame=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_message_or_an_error(gateway: ModuleType, frame: bytes) -> None:
    with suppress(BadMessage):
        assert isinstance(decode(gateway, frame), gateway.Request)
