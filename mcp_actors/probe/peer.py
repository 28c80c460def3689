"""A peer of the probe: a connection to the server, in one room."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from mcp_actors.client import PeerJoined, SignalingError, State, connect
from mcp_actors.client.dialing import Address, dial
from mcp_actors.probe.advice import advice_for
from mcp_actors.probe.report import Check, failed, ok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp_actors.client import Event, PeerClient, PeerRoom

CONNECT_TIMEOUT = 10.0
TIMEOUT = 15.0
"""Seconds to wait for an event."""

NORMAL = 1000
METADATA = {"name": "mcp-actors probe"}

EventT = TypeVar("EventT")


async def check_websocket(endpoint: str, token: str | None = None) -> Check:
    """Open a WebSocket, and close it."""
    began = time.monotonic()
    try:
        socket = await dial(Address(url=endpoint), token)
    except SignalingError as error:
        return failed("WebSocket", str(error), advice_for(error))
    milliseconds = (time.monotonic() - began) * 1000
    await socket.close(NORMAL)
    return ok("WebSocket", "the handshake is accepted", milliseconds)


def random_room() -> str:
    """A name that nobody uses."""
    return f"probe-{secrets.token_hex(8)}"


class Peer:
    """A client, its room, and the states of its connection since it joined."""

    def __init__(self, client: PeerClient, room: PeerRoom, states: asyncio.Queue[State]) -> None:
        self.client, self.room = client, room
        self._states = states

    @classmethod
    @asynccontextmanager
    async def enter(cls, endpoint: str, room: str, token: str | None = None) -> AsyncIterator[Peer]:
        """Join a room. Raises SignalingError."""
        states: asyncio.Queue[State] = asyncio.Queue()
        name = None if token else f"probe-{secrets.token_hex(4)}"
        connecting = connect(endpoint, token=token, connect_timeout=CONNECT_TIMEOUT, on_state=states.put_nowait)
        async with connecting as client:
            yield cls(client, await client.join(room, name, metadata=METADATA), states)

    async def next(self, kind: type[EventT], *unwanted: type[Event]) -> EventT:
        """Wait for an event, past others. Raises TimeoutError, and `Unwanted` at one of those kinds."""
        async with asyncio.timeout(TIMEOUT):
            async for event in self.room:
                if isinstance(event, kind):
                    return event
                if isinstance(event, unwanted):
                    raise Unwanted(event)
        raise TimeoutError

    async def meet(self, other: Peer) -> None:
        """Wait until this peer, which joined first, is told of the other. Raises TimeoutError.

        The news may come after the reply to the other's join if they are at two processes.
        """
        while (await self.next(PeerJoined)).peer_id != other.room.peer_id:
            pass

    async def until(self, state: State) -> None:
        """Wait until the connection has been in a state. Raises TimeoutError."""
        async with asyncio.timeout(TIMEOUT):
            while await self._states.get() != state:
                pass


class Unwanted(Exception):
    """An event says that something is wrong."""
