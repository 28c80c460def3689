"""The control of the chaos runs: a simple relay that spans processes. `pubsub_relay.py PORT`.

One Redis pub/sub channel per room, one PUBLISH per message, the roster in a hash, and redis-py with default settings.
It speaks enough of PROTOCOL.md for the observers. It loses messages whenever a connection to Redis breaks; that is its
purpose.
"""

from __future__ import annotations

import asyncio
import http
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

engine = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
subscriber = engine.pubsub()
publishing = asyncio.Lock()
rooms: dict[str, dict[str, ServerConnection]] = {}


async def relay(socket: ServerConnection) -> None:
    """Serve a peer."""
    joined: dict[str, str] = {}
    try:
        async for text in socket:
            await answer(socket, joined, json.loads(text))
    finally:
        for room in list(joined):
            await leave(room, joined.pop(room))


async def answer(socket: ServerConnection, joined: dict[str, str], message: dict[str, Any]) -> None:
    """Handle a message."""
    room, payload = message["room"], message.get("payload", {})
    about = {"room": room, "id": message.get("id")}
    try:
        if message["type"] == "join":
            joined[room] = payload["peer_id"]
            await join(socket, about, payload["peer_id"])
        elif message["type"] == "leave":
            await leave(room, joined.pop(room))
            await send(socket, {"type": "left", "payload": {}} | about)
        else:
            await publish(room, {"to": payload["target_peer_id"], "say": message | {"sender": joined[room]}})
            if "id" in message:
                await send(socket, {"type": "ack", "payload": {"status": "delivered"}} | about)
    except redis.RedisError as error:
        refusal = {"code": "unavailable", "message": str(error), "retryable": True}
        await send(socket, {"type": "error", "payload": refusal} | about)


async def join(socket: ServerConnection, about: dict[str, Any], peer: str) -> None:
    """Enter a room, tell the others and reply with the roster."""
    room = about["room"]
    if room not in rooms:
        rooms[room] = {}
        await subscriber.subscribe(room)
    order = await engine.incr(f"order:{room}")
    await engine.hset(f"roster:{room}", peer, str(order))
    payload = {"peer_id": peer, "metadata": {}, "order": order}
    await publish(room, {"say": {"type": "peer-joined", "room": room, "payload": payload}})
    roster = await engine.hgetall(f"roster:{room}")
    peers: list[Any] = [{"peer_id": other, "metadata": {}, "order": int(text)} for other, text in roster.items()]
    await send(socket, {"type": "joined", "payload": payload | {"peers": peers}} | about)
    rooms[room][peer] = socket


async def leave(room: str, peer: str) -> None:
    """Leave a room."""
    rooms[room].pop(peer, None)
    await engine.hdel(f"roster:{room}", peer)
    payload = {"peer_id": peer, "reason": "left"}
    await publish(room, {"say": {"type": "peer-left", "room": room, "payload": payload}})


async def publish(room: str, event: dict[str, Any]) -> None:
    """Publish to all processes, one at a time to keep the order."""
    async with publishing:
        await engine.publish(room, json.dumps(event))


async def listen() -> None:
    """Deliver what all processes publish."""
    while True:
        try:
            if not subscriber.subscribed:
                await asyncio.sleep(0.02)
                continue
            heard = await subscriber.get_message(ignore_subscribe_messages=True, timeout=1)
            if heard is not None:
                await deliver(heard["channel"], json.loads(heard["data"]))
        except redis.RedisError:
            await asyncio.sleep(0.05)


async def deliver(room: str, event: dict[str, Any]) -> None:
    """Deliver to the target, or to all but the peer that the event is about."""
    members, said = rooms.get(room, {}), event["say"]
    about = said["payload"].get("peer_id")
    meant: list[str] = [event["to"]] if "to" in event else [other for other in members if other != about]
    for peer in meant:
        if peer in members:
            await send(members[peer], said)


async def send(socket: ServerConnection, message: dict[str, Any]) -> None:
    """Send a message; ignore a closed connection."""
    try:
        await socket.send(json.dumps(message))
    except ConnectionClosed:
        return


def ready(socket: ServerConnection, request: Request) -> Response | None:
    """Answer /readyz."""
    return socket.respond(http.HTTPStatus.OK, "ready\n") if request.path == "/readyz" else None


async def main() -> None:
    """Serve until stopped."""
    # otherwise the first rooms would each connect it, and only one of the connections would be read
    await subscriber.connect()  # type: ignore[no-untyped-call]
    async with serve(relay, "127.0.0.1", int(sys.argv[1]), process_request=ready, compression=None):
        await listen()


if __name__ == "__main__":
    uvloop.run(main())
