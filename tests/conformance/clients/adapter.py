"""The adapter of the Python client for `python -m mcp_actors.conformance client`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mcp_actors.client import PeerClient, PeerRoom, Signal, SignalingError, State, connect

tasks: set[asyncio.Task[None]] = set()


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)  # noqa: T201 - the protocol of adapters


def told(state: State) -> None:
    if state is State.CLOSED:
        tell("closed")


class Adapter:
    def __init__(self) -> None:
        self.client: PeerClient
        self.rooms: dict[str, PeerRoom] = {}

    async def connect(self, url: str, tokens: list[str]) -> None:
        token = (lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0]) if tokens else None
        self.client = connect(url, token=token, on_state=told)
        await self.client.__aenter__()

    async def join(self, room: str, peer_id: str) -> None:
        self.rooms[room] = await self.client.join(room, peer_id)
        tell("joined", room=room)
        async for event in self.rooms[room]:
            if isinstance(event, Signal):
                tell("message", room=room, sender=event.sender, data=event.data)

    async def send(self, room: str, to: str, data: Any) -> None:
        await self.rooms[room].signal(to, data)

    async def close(self) -> None:
        await self.client.close()

    async def carry_out(self, command: str, **arguments: Any) -> None:
        try:
            await getattr(self, command)(**arguments)
        except SignalingError as error:
            tell("error", code=error.code, message=error.message)


async def main() -> None:
    adapter = Adapter()
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        task = asyncio.create_task(adapter.carry_out(**request))
        tasks.add(task)
        if request["command"] == "connect":
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await adapter.client.close()


asyncio.run(main())
