"""A relay on python-socketio, its ASGI app in uvicorn on uvloop. `socketio_relay.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", ping_interval=20)
rooms: dict[str, dict[str, str]] = {}
members: dict[str, tuple[str, str]] = {}


@server.event  # type: ignore[untyped-decorator]
async def join(sid: str, data: dict[str, Any]) -> None:
    """Enter a room."""
    room, peer_id = data["room"], data["peer_id"]
    rooms.setdefault(room, {})[peer_id] = sid
    members[sid] = (room, peer_id)
    await server.enter_room(sid, room)
    await server.emit("joined", {"room": room, "peer_id": peer_id}, to=sid)


async def relay(event: str, sid: str, data: dict[str, Any]) -> None:
    """Relay to a peer."""
    data["sender"] = members[sid][1]
    await server.emit(event, data, to=rooms[data["room"]][data["payload"]["target_peer_id"]])


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
async def message(sid: str, data: dict[str, Any]) -> None:
    """Broadcast to all others in the room."""
    data["sender"] = members[sid][1]
    await server.emit("message", data, room=data["room"], skip_sid=sid)


@server.event  # type: ignore[untyped-decorator]
async def disconnect(sid: str, _reason: str) -> None:
    """Leave."""
    room, peer_id = members.pop(sid, ("", ""))
    if room:
        del rooms[room][peer_id]
        if not rooms[room]:
            del rooms[room]


if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning")
