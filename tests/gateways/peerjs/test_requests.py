"""The requests of PeerJS clients, and refusals."""

from __future__ import annotations

import json

import pytest

from mcp_actors.gateways.peerjs.requests import Decoder, Message, Rewritten
from mcp_actors.protocol.errors import BadMessage

DECODE = Decoder(1000).decode


def test_a_message_of_the_client_is_read_without_its_payload() -> None:
    message = DECODE(b'{"type":"OFFER","dst":"bob","payload":{"sdp":{"type":"offer"}}}')
    assert isinstance(message, Message)
    assert (message.type, message.dst) == ("OFFER", "bob")
    assert bytes(message.payload) == b'{"sdp":{"type":"offer"}}'


def test_a_heartbeat_has_nothing_else() -> None:
    message = DECODE(b'{"type":"HEARTBEAT"}')
    assert isinstance(message, Message)
    assert message.dst is None


@pytest.mark.parametrize("extra", [{"src": "eve"}, {"sender": "eve"}, {"room": "r", "more": [1]}])
def test_fields_that_do_not_belong_there_are_not_passed_on(extra: dict[str, object]) -> None:
    known = {"type": "OFFER", "dst": "bob", "payload": {"a": [1, "é"]}}
    request = DECODE(json.dumps({**extra, **known}).encode())
    assert isinstance(request, Rewritten)
    assert json.loads(request.text) == known


def test_a_message_without_a_payload_stays_without() -> None:
    request = DECODE(b'{"type":"LEAVE","dst":"bob","src":"eve"}')
    assert isinstance(request, Rewritten)
    assert json.loads(request.text) == {"type": "LEAVE", "dst": "bob"}


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    request = DECODE(b'{"type":"OFFER","dst":"bob","payload":{"label":"\\ud83d"}}')
    assert isinstance(request, Rewritten)
    assert json.loads(request.text)["payload"] == {"label": "\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize(
    "frame",
    [
        b'{"dst":"bob"}',
        b'{"type":5}',
        b'{"type":null,"dst":"bob"}',
        b'{"type":"OFFER","dst":5}',
        b'{"type":"OFFER","dst":{"a":1},"payload":{}}',
        b'{"type":"OFFER","dst":"bob","payload":}',
        b'{"type":"OFFER","dst":"bob","payload":' + b"[" * 900,
        b'{"type":"\\ud83d',
    ],
)
def test_a_malformed_message_is_an_error_that_says_so(frame: bytes) -> None:
    with pytest.raises(BadMessage, match=r"^The message is "):
        DECODE(frame)
