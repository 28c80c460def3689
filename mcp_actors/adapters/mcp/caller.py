"""The agent that sends a request, as the adapter that received it knows it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_actors.auth.authorization import Admission
    from mcp_actors.auth.grants import Grant


@dataclass(frozen=True, slots=True)
class Caller:
    """`address`: of the client, also behind a trusted proxy. `token`: its access token, as it was sent.

    `grant`: what that token, or the application, allows; None if the caller has shown none. `admission`: what the
    application decided about the request, where it is asked. `is_operator`: may use the tools for operators.
    """

    address: str
    token: str | None = None
    grant: Grant | None = None
    admission: Admission | None = None
    is_operator: bool = False

    @property
    def user(self) -> str:
        """The verified id of the caller; empty if it has none."""
        return "" if self.grant is None else self.grant.sub


current: ContextVar[Caller] = ContextVar("caller")
"""The caller of the request that is handled. Whoever receives a request sets it before the SDK sees the request."""
