"""A relay on Django Channels with its in-memory channel layer, in uvicorn on uvloop. `channels_relay.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

import django
import uvicorn
from django.conf import settings

settings.configure(
    SECRET_KEY="bench",  # noqa: S106 - signs nothing
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 4096}}},
)
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

rooms: dict[str, dict[str, str]] = {}


class Relay(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """A member; others send to its channel or to the group of its room."""

    async def connect(self) -> None:
        """Accept the connection."""
        self.member = ""
        self.joined: set[str] = set()
        await self.accept()

    async def receive_json(self, content: dict[str, Any], **_kwargs: Any) -> None:
        """Join, relay or broadcast."""
        kind, payload = content["type"], content["payload"]
        if kind == "join":
            self.member = payload["peer_id"]
            await self._enter(content["room"], "joined")
        elif kind == "connect":
            self.member = payload["user_id"]
        elif kind == "join-room":
            await self._enter(content["room"], "room-joined")
        else:
            content["sender"] = self.member
            await self._pass_on(content)

    async def _enter(self, room: str, reply: str) -> None:
        rooms.setdefault(room, {})[self.member] = self.channel_name
        self.joined.add(room)
        await self.channel_layer.group_add(room, self.channel_name)
        await self.send_json({"type": reply, "room": room, "payload": {"id": self.member}})

    async def _pass_on(self, content: dict[str, Any]) -> None:
        room = content["room"]
        event = {"type": "relay.signal", "from": self.channel_name, "content": content}
        if content["type"] == "message":
            await self.channel_layer.group_send(room, event)
        else:
            await self.channel_layer.send(rooms[room][content["payload"]["target_peer_id"]], event)

    async def relay_signal(self, event: dict[str, Any]) -> None:
        """Send a signal of another member."""
        if event["from"] != self.channel_name:
            await self.send_json(event["content"])

    async def disconnect(self, code: int) -> None:
        """Leave."""
        for room in self.joined:
            await self.channel_layer.group_discard(room, self.channel_name)
            del rooms[room][self.member]
            if not rooms[room]:
                del rooms[room]


application = ProtocolTypeRouter({"websocket": URLRouter([re_path(r"^ws/", Relay.as_asgi())])})

if __name__ == "__main__":
    uvicorn.run(
        application, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", lifespan="off", log_level="warning"
    )
