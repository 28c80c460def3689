"""Refused handshakes, whichever way they are told."""

from __future__ import annotations

from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.protocol.errors import CloseCode


def test_a_refusal_says_the_same_in_a_response_and_in_a_close_frame() -> None:
    refusal = Refusal(429, "Too often.", CloseCode.RATE_LIMITED, 1.2)
    assert refusal.close_reason == "rate-limited: Too often."
    assert refusal.headers == {"Retry-After": "2"}


def test_a_refusal_without_a_time_promises_none() -> None:
    assert Refusal(403, "No.", CloseCode.FORBIDDEN).headers == {}
