"""The error that the client raises."""

from __future__ import annotations

from mcp_actors.client import SignalingError


def test_an_error_of_the_server_keeps_its_fields() -> None:
    payload = {"code": "room-full", "message": "Full.", "retryable": False, "details": {"limit": 2}}
    error = SignalingError.from_payload(payload)
    assert (error.code, error.message, error.retryable, error.details) == ("room-full", "Full.", False, {"limit": 2})
    assert str(error) == "Full. (room-full)"


def test_fields_may_be_missing() -> None:
    assert SignalingError.from_payload({"code": "later", "retryable": True}).details == {}
