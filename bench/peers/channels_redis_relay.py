"""A relay on Django Channels with channels_redis, in uvicorn on uvloop.

`REDIS_URL=... channels_redis_relay.py PORT [groups]`.

The members of rooms are in a Redis hash. A process looks up a peer once and caches it, so that a relayed signal costs
what the channel layer costs. With `groups`, each peer is instead in a group of its own, as the tutorial of Channels
teaches, and so is found again after it has reconnected.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import django
import uvicorn
from django.conf import settings
from redis.asyncio import Redis

REDIS_URL = os.environ["REDIS_URL"]
CHANNEL_LAYER = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    # it blocks for 5 seconds to wait for a message, which is also redis-py 8's default timeout
    "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 30}], "capacity": 4096},
}
settings.configure(
    SECRET_KEY="bench",  # noqa: S106 - signs nothing
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": CHANNEL_LAYER},
)
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

redis = Redis.from_url(REDIS_URL, decode_responses=True)
groups = "groups" in sys.argv
found: dict[tuple[str, str], Any] = {}


async def channel_of(room: str, peer: str) -> Any:
    """Return the channel of a peer on any process. Raises `KeyError`."""
    channel = found.get((room, peer)) or await redis.hget(f"room:{room}", peer)
    if channel is None:
        raise KeyError(peer)
    return found.setdefault((room, peer), channel)


class Relay(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """A peer; others send to its channel."""

    async def connect(self) -> None:
        """Accept the connection."""
        self.room = self.member = ""
        await self.accept()

    async def receive_json(self, content: dict[str, Any], **_kwargs: Any) -> None:
        """Join or relay."""
        payload = content["payload"]
        if content["type"] == "join":
            self.room, self.member = content["room"], payload["peer_id"]
            await self.enter()
            await self.send_json({"type": "joined", "room": self.room, "payload": {"id": self.member}})
            return
        content["sender"] = self.member
        event = {"type": "relay.signal", "content": content}
        if groups:
            await self.channel_layer.group_send(f"{self.room}.{payload['target_peer_id']}", event)
        else:
            await self.channel_layer.send(await channel_of(self.room, payload["target_peer_id"]), event)

    async def enter(self) -> None:
        """Be found by others."""
        if groups:
            await self.channel_layer.group_add(f"{self.room}.{self.member}", self.channel_name)
        else:
            await redis.hset(f"room:{self.room}", self.member, self.channel_name)

    async def relay_signal(self, event: dict[str, Any]) -> None:
        """Send a signal of another peer."""
        await self.send_json(event["content"])

    async def disconnect(self, code: int) -> None:
        """Leave."""
        if self.room and groups:
            await self.channel_layer.group_discard(f"{self.room}.{self.member}", self.channel_name)
        elif self.room:
            await redis.hdel(f"room:{self.room}", self.member)


application = ProtocolTypeRouter({"websocket": URLRouter([re_path(r"^ws/", Relay.as_asgi())])})

if __name__ == "__main__":
    uvicorn.run(
        application, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", lifespan="off", log_level="warning"
    )
