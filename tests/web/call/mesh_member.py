"""A member of a room with the `Mesh` of the Python client: `python -m tests.web.call.mesh_member URL ROOM NAME`.

It prints as lines of JSON when it has joined, and what becomes of its pairs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from mcp_actors.client import connect
from mcp_actors.client.aiortc import Mesh, PairConnected, PairFailed, PairHealed

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

    from mcp_actors.client.aiortc import MeshEvent


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)  # noqa: T201 - to the test


def prepare(_peer: str, connection: RTCPeerConnection) -> None:
    connection.createDataChannel("talk", negotiated=True, id=0)


def tell(event: MeshEvent) -> None:
    if isinstance(event, PairConnected | PairHealed | PairFailed):
        say(event=type(event).__name__, peer=event.peer_id)


async def main(url: str, room: str, name: str) -> None:
    async with connect(url) as server:
        joined = await server.join(room, name)
        say(joined=name)
        await Mesh(joined, prepare, tell).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
