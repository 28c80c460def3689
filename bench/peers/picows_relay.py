"""A relay on `picows`, WebSockets in C: about the least that Python can use. `picows_relay.py PORT`.

It decodes with msgspec without a schema instead of `json`, as users of picows care for speed.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

rooms: dict[str, dict[str, WSTransport]] = {}
decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


class Relay(WSListener):
    """A member."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Remember the connection."""
        self.transport = transport
        self.member = ""
        self.rooms: set[str] = set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Join, relay or broadcast."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        message = decode(frame.get_payload_as_memoryview())
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
        rooms.setdefault(room, {})[self.member] = self.transport
        self.rooms.add(room)
        self.transport.send(WSMsgType.TEXT, encode({"type": reply, "room": room, "payload": {"id": self.member}}))

    def _pass_on(self, members: dict[str, WSTransport], message: dict[str, Any]) -> None:
        text = encode(message)
        if message["type"] != "message":
            members[message["payload"]["target_peer_id"]].send(WSMsgType.TEXT, text)
            return
        for other in members.values():
            if other is not self.transport:
                other.send(WSMsgType.TEXT, text)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave."""
        for room in self.rooms:
            del rooms[room][self.member]
            if not rooms[room]:
                del rooms[room]


async def main() -> None:
    """Serve until stopped."""
    server = await ws_create_server(
        lambda _request: Relay(),
        "127.0.0.1",
        int(sys.argv[1]),
        enable_auto_ping=True,
        auto_ping_idle_timeout=20,
        auto_ping_reply_timeout=20,
        backlog=1024,
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
