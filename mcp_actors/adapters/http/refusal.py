"""Refused handshakes: the same reason as an HTTP response and as a close code."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_actors.protocol.errors import CloseCode


class Refusal(NamedTuple):
    """Why a handshake is refused: the HTTP status, the reason for people, and the close code that says the same.

    `retry_after`: seconds after which to try again; 0 if that is not known. `challenge`: how to authenticate, if that
    is the reason.
    """

    status: int
    reason: str
    code: CloseCode
    retry_after: float = 0.0
    challenge: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the HTTP response that only this refusal has."""
        found = {"Retry-After": str(ceil(self.retry_after))} if self.retry_after else {}
        return {**found, "WWW-Authenticate": self.challenge} if self.challenge else found

    @property
    def close_reason(self) -> str:
        """The reason in the close frame of a connection that is accepted to be refused."""
        return f"{self.code.reason}: {self.reason}"
