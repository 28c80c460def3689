"""The opening handshake."""

from __future__ import annotations

import pytest

from mcp_actors.ws.handshake import accept_key, handshake_problem

VALID = {
    "Upgrade": "WebSocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_valid_request_has_no_problem() -> None:
    assert handshake_problem("HTTP/1.1", VALID) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", "h2c, websocket"),
        ("Upgrade", "WEBSOCKET ,foo/2"),
        ("Connection", "upgrade"),
        ("Connection", "keep-alive ,\tUPGRADE"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ],
)
def test_headers_are_lists_of_words_in_any_case(name: str, value: str) -> None:
    assert handshake_problem("HTTP/1.1", {**VALID, name: value}) is None


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.2"])
def test_a_handshake_needs_http_1_1(version: str) -> None:
    """Tornado ends a connection of another version after its answer."""
    problem = handshake_problem(version, VALID)
    assert problem is not None
    assert problem.status == 400
    assert "a proxy in between must use HTTP/1.1" in problem.reason


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Upgrade", "h2c", 400),
        ("Upgrade", "", 400),
        ("Connection", "keep-alive", 400),
        ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Version", "", 426),
        ("Sec-WebSocket-Key", "", 400),
        ("Sec-WebSocket-Key", "nonsense", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZTE=", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ== ", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("Sec-WebSocket-Version", "13,13", 426),
        ("Upgrade", "websockets", 400),
        ("Connection", "upgraded", 400),
    ],
)
def test_a_header_that_is_wrong_or_missing_is_a_problem(name: str, value: str, status: int) -> None:
    problem = handshake_problem("HTTP/1.1", {**VALID, name: value})
    assert problem is not None
    assert problem.status == status


def test_the_key_is_answered_as_in_the_example_of_rfc_6455() -> None:
    assert accept_key(VALID["Sec-WebSocket-Key"]) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
