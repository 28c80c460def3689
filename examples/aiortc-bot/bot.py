"""A bot that joins a call, and sends everybody a moving picture. `python bot.py URL ROOM`."""

from __future__ import annotations

import asyncio
import sys

from aiortc import RTCPeerConnection, VideoStreamTrack
from av import VideoFrame

from mcp_actors.client import connect
from mcp_actors.client.aiortc import Mesh

WIDTH, HEIGHT = 320, 240
LINE = bytes(x * 255 // WIDTH for x in range(WIDTH) for _ in "rgb")


class Bars(VideoStreamTrack):
    """Bars that move from right to left."""

    async def recv(self) -> VideoFrame:
        """Return the next picture when it is time for it."""
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(WIDTH, HEIGHT, "rgb24")
        start = 3 * (pts // 1000 % WIDTH)
        frame.planes[0].update((LINE[start:] + LINE[:start]) * HEIGHT)
        frame.pts, frame.time_base = pts, time_base
        return frame


def prepare(_peer: str, connection: RTCPeerConnection) -> None:
    """Send the picture over each new connection."""
    connection.addTrack(Bars())


async def main(url: str, room: str) -> None:
    """Stay in a room until it is closed."""
    async with connect(url) as server:
        await Mesh(await server.join(room, "bot", metadata={"name": "Bot"}), prepare).run()


asyncio.run(main(*sys.argv[1:]))
