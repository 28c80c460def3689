"""A relay on `websockets`, with its asyncio server on uvloop. `websockets_relay.py PORT`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: dict[str, dict[str, ServerConnection]] = {}


async def relay(socket: ServerConnection) -> None:
    """Serve a member."""
    member, joined = "", set[str]()

    async def enter(room: str, reply: str) -> None:
        rooms.setdefault(room, {})[member] = socket
        joined.add(room)
        await socket.send(json.dumps({"type": reply, "room": room, "payload": {"id": member}}))

    try:
        async for text in socket:
            message = json.loads(text)
            kind, payload = message["type"], message["payload"]
            if kind == "join":
                member = payload["peer_id"]
                await enter(message["room"], "joined")
            elif kind == "connect":
                member = payload["user_id"]
            elif kind == "join-room":
                await enter(message["room"], "room-joined")
            else:
                message["sender"] = member
                await pass_on(socket, rooms[message["room"]], message)
    finally:
        for room in joined:
            leave(room, member)


async def pass_on(socket: ServerConnection, members: dict[str, ServerConnection], message: dict[str, Any]) -> None:
    """Send to one member or to all others."""
    text = json.dumps(message)
    if message["type"] == "message":
        broadcast([other for other in members.values() if other is not socket], text)
    else:
        await members[message["payload"]["target_peer_id"]].send(text)


def leave(room: str, member: str) -> None:
    """Leave a room; an empty room is removed."""
    del rooms[room][member]
    if not rooms[room]:
        del rooms[room]


async def main() -> None:
    """Serve until stopped."""
    async with serve(relay, "127.0.0.1", int(sys.argv[1]), backlog=1024):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
