"""The scene of a check: the client, a server, and a transcript of both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.adapter import Adapter
from mcp_actors.conformance.clients.server import PATIENCE, Connection, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Start = Callable[[Callable[[dict[str, Any]], None]], Adapter]
"""Makes an adapter, which calls the argument with each event."""

ROOM, ADA, BOB = "room", "ada", "bob"
RESUME = "the-first-token"


def roster(**more: Any) -> dict[str, Any]:
    """The payload of `joined`: Ada, the client, has found Bob."""
    peers = [{"peer_id": BOB, "metadata": {}, "order": 1}, {"peer_id": ADA, "metadata": {}, "order": 2}]
    joined = {"peer_id": ADA, "order": 2, "peers": peers, "ice_servers": [], "resume": RESUME, "resumed": False}
    return joined | {"ping_interval": 10, "max_message_bytes": 65536} | more


class Scene:
    """A client and its server."""

    def __init__(self, start: Start, server: ScriptedServer, stack: AsyncExitStack) -> None:
        self._start, self._stack = start, stack
        self.server = server
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._adapter = start(self._hear)
        stack.push_async_callback(self._adapter.end)

    async def another(self) -> Scene:
        """Another client, with a server of its own."""
        server = await self._stack.enter_async_context(ScriptedServer(self.server.patience))
        server.transcript = self.server.transcript
        return Scene(self._start, server, self._stack)

    def _hear(self, event: dict[str, Any]) -> None:
        self.server.transcript.append(f"event   {json.dumps(event)}")
        self._events.put_nowait(event)

    async def tell(self, command: str, **arguments: Any) -> None:
        """Give the client a command."""
        said = {"command": command, **arguments}
        self.server.transcript.append(f"command {json.dumps(said)}")
        await self._adapter.tell(said)

    async def event(self, *names: str) -> dict[str, Any]:
        """The next event with one of these names; others before it are passed over."""
        try:
            async with asyncio.timeout(self.server.patience):
                while (event := await self._events.get()).get("event") not in names:
                    pass
        except TimeoutError:
            raise Failed(
                f"an event {' or '.join(names)} was expected within {self.server.patience:g} seconds"
            ) from None
        return event

    async def messages(self, *expected: Any) -> None:
        """The next messages that the client passes on have these data."""
        found = [(await self.event("message")).get("data") for _ in expected]
        if found != list(expected):
            raise Failed(f"the messages {list(expected)} were expected, not {found}")

    async def connect(self, *tokens: str) -> Connection:
        """Tell the client to connect and to join; the connection, on which nothing has been read."""
        await self.tell("connect", url=self.server.url, tokens=list(tokens))
        await self.tell("join", room=ROOM, peer_id=ADA)
        return await self.server.connection()

    async def joined(self, **more: Any) -> Connection:
        """Let the client join; the connection. `more`: further fields of the payload of `joined`."""
        connection = await self.connect()
        await self.welcome(connection, **more)
        await self.event("joined")
        return connection

    async def welcome(self, connection: Connection, delivery: int = 1, **more: Any) -> dict[str, Any]:
        """Answer a join; the payload of the join."""
        join = await connection.expect("join")
        given = {"id": join["id"]} if "id" in join else {}
        await connection.say("joined", roster(**more), room=ROOM, delivery=delivery, **given)
        payload: dict[str, Any] = join["payload"]
        return payload

    async def resumed(self, delivery: int, **more: Any) -> tuple[Connection, dict[str, Any]]:
        """Let the client resume; the new connection, and the payload of its join."""
        connection = await self.server.connection()
        fields: dict[str, Any] = {"resumed": True, "complete": True, "resume": "the-next-token"}
        return connection, await self.welcome(connection, delivery, **fields | more)

    async def send(self, connection: Connection, data: Any, delivery: int, **more: Any) -> None:
        """Send a signal of Bob."""
        payload = {"target_peer_id": ADA, "data": data}
        await connection.send(
            {"delivery": delivery, "sender": BOB, "type": "signal", "room": ROOM, "payload": payload} | more
        )


@asynccontextmanager
async def scene(start: Start, patience: float = PATIENCE) -> AsyncIterator[Scene]:
    """A new client and a new server."""
    async with AsyncExitStack() as stack:
        yield Scene(start, await stack.enter_async_context(ScriptedServer(patience)), stack)
