"""The adapter of the Python client for `python -m mcp_actors.conformance client`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from mcp_actors.client import PeerClient, PeerRoom, Signal, SignalingError, State, connect

if TYPE_CHECKING:
    from collections.abc import Callable


class PythonAdapter:
    """Carries out commands; `hear` is called with each event."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self._hear = hear
        self._client: PeerClient | None = None
        self._rooms: dict[str, PeerRoom] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def tell(self, command: dict[str, Any]) -> None:
        self._tasks.add(asyncio.create_task(self._carry_out(**command)))
        await asyncio.sleep(0)  # the client is made before it is told to join

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client:
            await self._client.close()

    async def _carry_out(self, command: str, **arguments: Any) -> None:
        try:
            await getattr(self, f"_{command}")(**arguments)
        except SignalingError as error:
            self._hear({"event": "error", "code": error.code, "message": error.message})

    async def _connect(self, url: str, tokens: list[str]) -> None:
        token = (lambda: tokens.pop(0) if len(tokens) > 1 else tokens[0]) if tokens else None
        self._client = connect(url, token=token, on_state=self._told)
        await self._client.__aenter__()

    def _told(self, state: State) -> None:
        if state is State.CLOSED:
            self._hear({"event": "closed"})

    async def _join(self, room: str, peer_id: str) -> None:
        assert self._client
        self._rooms[room] = await self._client.join(room, peer_id)
        self._hear({"event": "joined", "room": room})
        async for event in self._rooms[room]:
            if isinstance(event, Signal):
                self._hear({"event": "message", "room": room, "data": event.data})

    async def _send(self, room: str, to: str, data: Any) -> None:
        await self._rooms[room].signal(to, data)

    async def _close(self) -> None:
        assert self._client
        await self._client.close()


async def main() -> None:
    adapter = PythonAdapter(lambda event: print(json.dumps(event), flush=True))  # noqa: T201 - the protocol of adapters
    while line := await asyncio.to_thread(sys.stdin.readline):
        await adapter.tell(json.loads(line))
    await adapter.end()


if __name__ == "__main__":
    asyncio.run(main())
