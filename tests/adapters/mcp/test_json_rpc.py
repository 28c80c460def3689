"""Messages of agents on WebSockets, and errors in terms of JSON-RPC; sockets show the same in test_agent_connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_actors.adapters.mcp.json_rpc import JSON_RPC, Decoder
from mcp_actors.protocol.codec import error_message
from mcp_actors.protocol.errors import BadMessage, Internal, MessageTooBig, RateLimited, SignalingError
from mcp_actors.protocol.messages import Pong
from mcp_actors.protocol.outgoing import Relayed

decode = Decoder(1000).decode


def told(error: SignalingError) -> Any:
    return json.loads(b"".join(JSON_RPC.encode(error_message(error), b"")))


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        ('{"jsonrpc": "2.0", "id": 1, "method": "ping"}', 1),
        ('{"jsonrpc": "2.0", "id": "a", "method": "ping", "params": {}}', "a"),
        ('{"jsonrpc": "2.0", "method": "notifications/initialized"}', None),
        ('{"jsonrpc": "2.0", "id": 1, "result": {}}', None),
    ],
)
def test_only_requests_have_an_id_that_is_answered(text: str, request_id: Any) -> None:
    assert decode(text.encode()).id == request_id


@pytest.mark.parametrize(
    ("text", "request_id", "code"),
    [
        ("", None, -32700),
        ("{", None, -32700),
        ("\ufeff{}", None, -32700),
        ("[]", None, -32600),
        ("1", None, -32600),
        ('{"id": 3}', 3, -32600),
        ('{"id": null, "jsonrpc": "2.0", "method": "ping"}', None, -32600),
        ('{"id": {}, "jsonrpc": "2.0", "method": "ping"}', None, -32600),
        ('{"jsonrpc": "2.0", "method": "x", "params": {"a": NaN}}', None, -32600),
        ("[" * 900, None, -32700),
    ],
)
def test_what_is_no_message_is_an_error_about_its_id(text: str, request_id: Any, code: int) -> None:
    with pytest.raises(BadMessage) as error:
        decode(text.encode())
    answer = told(error.value)
    assert (answer["id"], answer["error"]["code"]) == (request_id, code)
    assert answer["error"]["data"] == {"code": "bad-message"}


def test_a_message_that_is_too_long_is_not_parsed() -> None:
    with pytest.raises(MessageTooBig) as error:
        decode(b"x" * 1001)
    assert told(error.value)["error"]["data"] == {"code": "message-too-big", "limit": 1000}


def test_other_errors_have_the_code_of_this_server_as_data() -> None:
    limited = RateLimited("Slow down.", retry_after_ms=5)
    limited.about(None, 7)
    assert told(limited) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -32000, "message": "Slow down.", "data": {"code": "rate-limited", "retry_after_ms": 5}},
    }
    assert told(Internal("A bug."))["error"]["code"] == -32603


def test_nothing_else_is_told() -> None:
    assert JSON_RPC.encode(Pong(), b"") == (b"", b"")
    assert JSON_RPC.relay(Relayed(b'"sender":"a",', b"}")) == (b"", b"")
    assert JSON_RPC.prefix(b"head", 5) == b"head"
