"""A relay on Django Channels with channels_redis, in uvicorn on uvloop. `REDIS_URL=... channels_redis_relay.py PORT`.

The members of rooms are in a Redis hash. A process looks up a peer once and caches it, so that a relayed signal costs
what the channel layer costs.
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
            await redis.hset(f"room:{self.room}", self.member, self.channel_name)
            await self.send_json({"type": "joined", "room": self.room, "payload": {"id": self.member}})
            return
        content["sender"] = self.member
        target = await channel_of(self.room, payload["target_peer_id"])
        await self.channel_layer.send(target, {"type": "relay.signal", "content": content})

    async def relay_signal(self, event: dict[str, Any]) -> None:
        """Send a signal of another peer."""
        await self.send_json(event["content"])

    async def disconnect(self, code: int) -> None:
        """Leave."""
        if self.room:
            await redis.hdel(f"room:{self.room}", self.member)


application = ProtocolTypeRouter({"websocket": URLRouter([re_path(r"^ws/", Relay.as_asgi())])})

if __name__ == "__main__":
    uvicorn.run(
        application, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", lifespan="off", log_level="warning"
    )
