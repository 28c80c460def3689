"""A relay on python-socketio with its Redis manager, in uvicorn. `REDIS_URL=... socketio_redis_relay.py PORT`.

Each peer is in a Socket.IO room of its own, named after it, through which other processes reach it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(
    async_mode="asgi", ping_interval=20, client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"])
)
members: dict[str, tuple[str, str]] = {}


@server.event  # type: ignore[untyped-decorator]
async def join(sid: str, data: dict[str, Any]) -> None:
    """Enter a room."""
    room, peer_id = members[sid] = data["room"], data["peer_id"]
    await server.enter_room(sid, f"{room}/{peer_id}")
    await server.emit("joined", {"room": room, "peer_id": peer_id}, to=sid)


async def relay(event: str, sid: str, data: dict[str, Any]) -> None:
    """Relay to a peer on any process."""
    room, data["sender"] = members[sid]
    await server.emit(event, data, to=f"{room}/{data['payload']['target_peer_id']}")


@server.on("offer")  # type: ignore[untyped-decorator]
async def offer(sid: str, data: dict[str, Any]) -> None:
    """Relay an offer."""
    await relay("offer", sid, data)


@server.on("answer")  # type: ignore[untyped-decorator]
async def answer(sid: str, data: dict[str, Any]) -> None:
    """Relay an answer."""
    await relay("answer", sid, data)


@server.on("ice-candidate")  # type: ignore[untyped-decorator]
async def ice_candidate(sid: str, data: dict[str, Any]) -> None:
    """Relay a candidate."""
    await relay("ice-candidate", sid, data)


@server.event  # type: ignore[untyped-decorator]
async def disconnect(sid: str, _reason: str) -> None:
    """Leave."""
    members.pop(sid, None)


if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning")
