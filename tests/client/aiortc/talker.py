"""A member of a mesh that says its name on each channel, and notes what it hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from mcp_actors.client import connect
from mcp_actors.client.aiortc import Mesh, PairConnected, PairFailed, PairHealed, Reason

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

    from mcp_actors.client.aiortc import MeshEvent

DEADLINE = 30.0

EventT = TypeVar("EventT")


class Talker:
    """See above. `pairs`: what became of its pairs; `events`: all that its mesh has told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.events: list[MeshEvent] = []
        self.pairs: asyncio.Queue[PairConnected | PairHealed | PairFailed] = asyncio.Queue()
        self.channels: dict[str, Any] = {}
        self.connections = 0
        self.mesh: Mesh

    def prepare(self, peer: str, connection: RTCPeerConnection) -> None:
        self.connections += 1
        channel = self.channels[peer] = connection.createDataChannel("talk", negotiated=True, id=0)
        channel.on("open", lambda: channel.send(self.name))
        channel.on("message", lambda text: self.heard.put_nowait((peer, text)))

    def tell(self, event: MeshEvent) -> None:
        self.events.append(event)
        if isinstance(event, PairConnected | PairHealed | PairFailed):
            self.pairs.put_nowait(event)

    async def run(self, url: str, joined: asyncio.Event) -> None:
        async with connect(url) as client:
            self.mesh = Mesh(await client.join("r", self.name), self.prepare, self.tell)
            joined.set()
            await self.mesh.run()

    async def hear(self, count: int) -> set[tuple[str, str]]:
        async with asyncio.timeout(DEADLINE):
            return {await self.heard.get() for _ in range(count)}

    async def until(self, kind: type[EventT]) -> EventT:
        """Wait until a pair becomes something, past what it becomes before."""
        async with asyncio.timeout(DEADLINE):
            while not isinstance(event := await self.pairs.get(), kind):
                pass
        return event

    async def until_failed(self, reason: Reason) -> PairFailed:
        """Wait until a pair has failed for a reason: another one may be told first on a busy machine."""
        while (failed := await self.until(PairFailed)).reason != reason:
            pass
        return failed

    async def say(self, peer: str, text: str) -> None:
        """Send a text to a peer, over the connection that there will be."""
        async with asyncio.timeout(DEADLINE):
            while self.channels[peer].readyState != "open":
                await asyncio.sleep(0.01)
        self.channels[peer].send(text)

    async def until_heard(self, peer: str, text: str) -> None:
        """Wait until a peer has said something, past what it says before."""
        async with asyncio.timeout(DEADLINE):
            while await self.heard.get() != (peer, text):
                pass


async def start(url: str, *talkers: Talker) -> list[asyncio.Task[None]]:
    """Let talkers join one after another."""
    tasks = []
    for talker in talkers:
        joined = asyncio.Event()
        tasks.append(asyncio.create_task(talker.run(url, joined)))
        await joined.wait()
    return tasks


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def description(connection: RTCPeerConnection) -> dict[str, str]:
    local = connection.localDescription
    return {"type": local.type, "sdp": local.sdp}
