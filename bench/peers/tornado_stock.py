"""A relay on Tornado's own handlers, as its documentation teaches. `tornado_stock.py PORT [uvloop]`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from tornado.web import Application
from tornado.websocket import WebSocketHandler

rooms: dict[str, dict[str, Relay]] = {}


class Relay(WebSocketHandler):
    """A member."""

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Remember the connection."""
        self.set_nodelay(True)
        self.member = ""
        self.rooms: set[str] = set()

    def on_message(self, text: str | bytes) -> None:
        """Join, relay or broadcast."""
        message = json.loads(text)
        kind, payload = message["type"], message["payload"]
        if kind == "join":
            self.member = payload["peer_id"]
            self._enter(message["room"], "joined")
        elif kind == "connect":
            self.member = payload["user_id"]
        elif kind == "join-room":
            self._enter(message["room"], "room-joined")
        else:
            message["sender"] = self.member
            self._pass_on(rooms[message["room"]], message)

    def _enter(self, room: str, reply: str) -> None:
        rooms.setdefault(room, {})[self.member] = self
        self.rooms.add(room)
        self.write_message({"type": reply, "room": room, "payload": {"id": self.member}})

    def _pass_on(self, members: dict[str, Relay], message: dict[str, Any]) -> None:
        text = json.dumps(message)
        if message["type"] != "message":
            members[message["payload"]["target_peer_id"]].write_message(text)
            return
        for other in members.values():
            if other is not self:
                other.write_message(text)

    def on_close(self) -> None:
        """Leave."""
        for room in self.rooms:
            del rooms[room][self.member]
            if not rooms[room]:
                del rooms[room]


async def main() -> None:
    """Serve until stopped."""
    app = Application([(r"/ws/.*", Relay)], websocket_ping_interval=20)
    app.listen(int(sys.argv[1]), "127.0.0.1", backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
