"""The end of connections and sessions whose access tokens were revoked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.sessions import VERIFIED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.auth.grants import Grant
    from mcp_actors.connection.identity import Identity
    from mcp_actors.sessions import Session

log = structlog.get_logger("mcp_actors.connection")

BATCH = 1000
"""Connections that are looked at in one turn of the event loop, in less than a millisecond."""


class AuthenticatedConnection(Protocol):
    """A connection, as it is seen here."""

    identity: Identity

    def close(self, code: CloseCode) -> None:
        """Close the connection."""


class RevocationSweep:
    """Closes the connections whose grants are revoked, and ends the sessions that nobody can resume any more.

    `is_sub_revoked`: whether no token of a `sub` counts. A sweep that is asked for during another one follows it, so
    that many revocations at once cost few sweeps.
    """

    def __init__(
        self,
        connections: Iterable[AuthenticatedConnection],
        detached: Iterable[Session],
        is_revoked: Callable[[Grant], bool],
        is_sub_revoked: Callable[[str], bool],
    ) -> None:
        self._connections = connections
        self._detached = detached
        self._is_revoked = is_revoked
        self._is_sub_revoked = is_sub_revoked
        self._sweeping: asyncio.Task[None] | None = None
        self._again = False

    def start(self) -> None:
        """Look at all connections, now or after the sweep that is under way."""
        self._again = True
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep_all())

    async def stop(self) -> None:
        """Stop the sweep that is under way."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _sweep_all(self) -> None:
        try:
            while self._again:
                self._again = False
                await self._sweep()
        except Exception:
            log.exception("closing revoked connections failed")
        finally:
            self._sweeping = None

    async def _sweep(self) -> None:
        closed = 0
        for number, connection in enumerate(tuple(self._connections), 1):
            if self._is_over(connection.identity):
                connection.close(CloseCode.TOKEN_REVOKED)
                closed += 1
            if number % BATCH == 0:
                await asyncio.sleep(0)
        for session in tuple(self._detached):
            if session.identity.startswith(VERIFIED) and self._is_sub_revoked(session.identity.removeprefix(VERIFIED)):
                session.end(LeaveReason.DISCONNECTED)
                closed += 1
        if closed:
            log.info("revoked connections closed", connections=closed)

    def _is_over(self, identity: Identity) -> bool:
        grants = (identity.grant, *identity.in_rooms.values())
        return any(grant is not None and self._is_revoked(grant) for grant in grants)
