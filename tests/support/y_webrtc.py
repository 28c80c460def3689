"""Clients of the y-webrtc protocol, and of trystero's shape of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from mcp_actors.gateways.y_webrtc.topics import Topics
from tests.support.client import DEADLINE, Client

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.server import Server

PATH = "/ws/y-webrtc/"
SLOW = 60.0
"""Seconds for what takes long on a busy machine."""

ROOM_OF = Topics(128).room


class YClient(Client):
    """A connection of a page; `name`: how it names itself in what it publishes."""

    name = ""

    async def tell(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        await self.send(json.dumps({"type": kind, **fields}))

    async def subscribe(self, *topics: str) -> None:
        """Subscribe to topics."""
        await self.tell("subscribe", topics=topics)

    async def publish(self, topic: str, data: Any) -> None:
        """Publish anything."""
        await self.tell("publish", topic=topic, data=data)

    async def announce(self, topic: str) -> None:
        """Tell all others the client's name."""
        await self.publish(topic, {"type": "announce", "from": self.name})

    async def signal(self, topic: str, to: str, content: Any = 1) -> None:
        """Send a signal to one other client."""
        data = {"type": "signal", "to": to, "from": self.name, "token": 1.5, "signal": content}
        await self.publish(topic, data)

    async def data(self) -> Any:
        """The data of the next message, which is a publication."""
        async with asyncio.timeout(SLOW):
            message = json.loads(await self.socket.recv())
        assert message["type"] == "publish", message
        return message["data"]

    async def ping(self) -> None:
        """Wait for a pong, so that the server has handled what was sent before, and check that nothing else comes."""
        await self.tell("ping")
        assert await self.hear() == {"type": "pong"}


class Pages:
    """The clients of one test, which are closed at its end."""

    def __init__(self) -> None:
        self._clients: list[YClient] = []

    async def open(self, server: Server | str, name: str = "", query: str = "", **headers: str) -> YClient:
        """Connect to a server, or to a URL."""
        url = server if isinstance(server, str) else server.url("")
        client = await YClient.open(url + PATH + query, None, **headers)
        client.name = name
        self._clients.append(client)
        return client

    async def subscribed(self, server: Server, name: str, *topics: str, query: str = "") -> YClient:
        """Connect and subscribe, and wait until the server knows."""
        client = await self.open(server, name, query)
        before = {topic: count(server, topic, here=True) for topic in topics}
        await client.subscribe(*topics)
        for topic in topics:
            await has(server, topic, before[topic] + 1, here=True)
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            with suppress(TimeoutError):
                await client.end()


def count(server: Server, topic: str, *, here: bool = False) -> int:
    """The subscribers of a topic at all processes, as one of them knows them, or those of this one."""
    node = server.app.node
    return sum(not here or member.node == node.id for member in node.roster(ROOM_OF(topic)))


async def has(server: Server, topic: str, subscribers: int, *, here: bool = False) -> None:
    """Wait until a process knows so many subscribers, or has them itself."""
    async with asyncio.timeout(SLOW):
        while count(server, topic, here=here) != subscribers:
            await asyncio.sleep(0.005)


__all__ = ["DEADLINE", "PATH", "ROOM_OF", "SLOW", "Pages", "YClient", "count", "has"]
