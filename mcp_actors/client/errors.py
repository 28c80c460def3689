"""The error that the client raises."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self


class ClientCode(StrEnum):
    """The codes of errors that come from the client; all others come from the server, as PROTOCOL.md lists them."""

    CONNECTION_LOST = "connection-lost"
    """The request was not sent."""
    UNKNOWN = "unknown"
    """The connection was lost before the reply, and the session is over: the request may have been carried out."""
    TIMEOUT = "timeout"
    """The connection works, but there is no reply: the request may have been carried out."""
    UNREACHABLE = "unreachable"
    """There is no first connection; the message says why."""
    HANDSHAKE_REFUSED = "handshake-refused"
    """The server refuses the WebSocket; the message is what it says."""
    NO_TOKEN = "no-token"  # noqa: S105 - no password
    """The function that returns access tokens has failed."""
    CLOSED = "closed"
    """The connection is closed; `details` are its close `code` and `reason`."""


LOST_CODES = frozenset({ClientCode.CONNECTION_LOST, ClientCode.UNKNOWN, ClientCode.TIMEOUT})
"""Codes of requests that the server has not answered."""


class SignalingError(Exception):
    """An error of the server or the client.

    `code` is for programs, `message` for people. `retryable`: the same request may succeed a moment later. `details`
    are those of the server.
    """

    def __init__(
        self, code: str, message: str, *, retryable: bool = False, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.retryable, self.details = code, message, retryable, details or {}

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> Self:
        """The error in an `error` message of the server."""
        code, message = str(payload.get("code", "")), str(payload.get("message", ""))
        return cls(code, message, retryable=payload.get("retryable") is True, details=payload.get("details"))


def connection_lost() -> SignalingError:
    """The request was not sent."""
    return SignalingError(ClientCode.CONNECTION_LOST, "The connection to the server is lost.", retryable=True)


def outcome_unknown(kind: str) -> SignalingError:
    """The request was sent, and its reply cannot come any more."""
    return SignalingError(
        ClientCode.UNKNOWN, f"The connection was lost before the reply to {kind}, which may have arrived."
    )


def closed(code: int, reason: str, complaint: str = "", *, retryable: bool = False) -> SignalingError:
    """The connection is closed. `complaint`: what the server has said before."""
    text = f"The connection is closed: {reason or 'no reason given'} ({code}). {complaint}".rstrip()
    return SignalingError(ClientCode.CLOSED, text, retryable=retryable, details={"code": code, "reason": reason})
