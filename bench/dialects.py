"""The wire protocols of the measured servers: how a client joins, and how it writes a signal."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import Any

import jwt

from bench.payloads import PAYLOADS, Template, blank_stamp

TYPES = {"candidate": "ice-candidate", "offer": "offer", "answer": "answer"}
BENCH_KEY = "a public key for servers that are measured on this machine alone"
TOKEN_LIFE = 3600

CONTENT = "The quick brown fox jumps over the lazy dog, and the lazy dog lets it, as ever."


class Dialect(ABC):
    """The protocol of a kind of server. `joined` occurs in the frame that confirms a join."""

    joined: bytes

    def mark(self, member: str) -> bytes:
        """Return what only signals for a member contain; empty if it is sent no others."""
        return b""

    @abstractmethod
    def path(self, member: str) -> str:
        """Return the path and query that a member connects to."""

    def target(self, room: str, member: str) -> str:
        """Return the path and query of a member that is to join a room."""
        return self.path(member)

    @abstractmethod
    def opening(self, room: str, member: str) -> list[bytes]:
        """Return the messages to send when the connection opens."""

    def signal(self, kind: str, room: str, sender: int, target: str) -> Template:
        """Return a candidate, offer or answer for the member `target`. Raises TypeError if the protocol has none."""
        raise TypeError(f"{type(self).__name__} has no messages for one member")

    def broadcast(self, room: str, sender: int) -> Template:
        """Return a message for all others in the room. Raises TypeError if the protocol has none."""
        raise TypeError(f"{type(self).__name__} has no messages for all members")

    def reply(self, frame: bytes, room: str, member: str) -> bytes | None:
        """Return the protocol's answer to a frame that is not a relayed message, or None."""
        return None


class Peers(Dialect):
    """/ws/signaling/ of PROTOCOL.md, which the relays in bench/peers also speak."""

    joined = b'joined"'

    def path(self, member: str) -> str:
        """See `Dialect`."""
        return "/ws/signaling/"

    def opening(self, room: str, member: str) -> list[bytes]:
        """See `Dialect`."""
        return [_text({"type": "join", "room": room, "payload": {"peer_id": member}})]

    def signal(self, kind: str, room: str, sender: int, target: str) -> Template:
        """See `Dialect`."""
        payload = {"target_peer_id": target, "at": blank_stamp(kind, sender)} | PAYLOADS[kind]
        return Template(_text({"type": TYPES[kind], "room": room, "payload": payload}).decode())


class Hinting(Peers):
    """The same, with the room in the URL."""

    def target(self, room: str, member: str) -> str:
        """See `Dialect`."""
        return f"{self.path(member)}?room={room}"


class Guarded(Peers):
    """The same, with an access token for each peer."""

    def path(self, member: str) -> str:
        """See `Dialect`."""
        claims = {"sub": member, "rooms": ["room-*"], "can": ["signal"], "exp": int(time.time()) + TOKEN_LIFE}
        return f"{super().path(member)}?token={jwt.encode(claims, BENCH_KEY, algorithm='HS256')}"


class Users(Dialect):
    """/ws/mcp/ of PROTOCOL.md."""

    joined = b'room-joined"'

    def path(self, member: str) -> str:
        """See `Dialect`."""
        return "/ws/mcp/"

    def opening(self, room: str, member: str) -> list[bytes]:
        """See `Dialect`."""
        connect = {"type": "connect", "payload": {"user_id": member}}
        return [_text(connect), _text({"type": "join-room", "room": room, "payload": {}})]

    def broadcast(self, room: str, sender: int) -> Template:
        """See `Dialect`."""
        payload = {"content": CONTENT, "at": blank_stamp("message", sender)}
        return Template(_text({"type": "message", "room": room, "payload": payload}).decode())


class PeerJs(Dialect):
    """The protocol of the PeerJS server, with one id space and no rooms."""

    joined = b'"OPEN"'

    def path(self, member: str) -> str:
        """See `Dialect`."""
        return f"/peerjs?key=peerjs&id={member}&token=t"

    def opening(self, room: str, member: str) -> list[bytes]:
        """Nothing: connecting is joining."""
        return []

    def signal(self, kind: str, room: str, sender: int, target: str) -> Template:
        """See `Dialect`."""
        payload = {"at": blank_stamp(kind, sender)} | PAYLOADS[kind]
        return Template(_text({"type": kind.upper(), "dst": target, "payload": payload}).decode())


class YWebRtc(Dialect):
    """The protocol of y-webrtc: signals are published in the topic of a room, for one peer or for all."""

    joined = b'"pong"'

    def mark(self, member: str) -> bytes:
        """See `Dialect`. Clients drop the signals for others."""
        return b'"to":"%b"' % member.encode()

    def path(self, member: str) -> str:
        """See `Dialect`."""
        return "/ws/y-webrtc/"

    def opening(self, room: str, member: str) -> list[bytes]:
        """See `Dialect`. A subscription is not confirmed, but the pong is sent behind it."""
        announced = {"type": "publish", "topic": room, "data": {"type": "announce", "from": member}}
        return [_text(message) for message in ({"type": "subscribe", "topics": [room]}, announced, {"type": "ping"})]

    def signal(self, kind: str, room: str, sender: int, target: str) -> Template:
        """See `Dialect`."""
        own = f"{target.rpartition('-')[0]}-{sender:0{len(target.rpartition('-')[2])}d}"
        signal = {"at": blank_stamp(kind, sender), "type": kind} | next(iter(PAYLOADS[kind].values()))
        data = {"to": target, "from": own, "type": "signal", "token": 1769000000000.5, "signal": signal}
        return Template(_text({"type": "publish", "topic": room, "data": data}).decode())


class SocketIo(Dialect):
    """Engine.IO 4 over a WebSocket, carrying Socket.IO events."""

    joined = b'42["joined"'

    def path(self, member: str) -> str:
        """See `Dialect`."""
        return "/socket.io/?EIO=4&transport=websocket"

    def opening(self, room: str, member: str) -> list[bytes]:
        """Nothing: the server speaks first."""
        return []

    def reply(self, frame: bytes, room: str, member: str) -> bytes | None:
        """Open the namespace, join once it is open, and answer pings."""
        if frame.startswith(b"0{"):
            return b"40"
        if frame.startswith(b"40"):
            return _event("join", {"room": room, "peer_id": member})
        return b"3" if frame == b"2" else None

    def signal(self, kind: str, room: str, sender: int, target: str) -> Template:
        """See `Dialect`."""
        payload = {"target_peer_id": target, "at": blank_stamp(kind, sender)} | PAYLOADS[kind]
        return Template(_event(TYPES[kind], {"room": room, "payload": payload}).decode())

    def broadcast(self, room: str, sender: int) -> Template:
        """See `Dialect`."""
        payload = {"content": CONTENT, "at": blank_stamp("message", sender)}
        return Template(_event("message", {"room": room, "payload": payload}).decode())


def _text(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"42" + json.dumps([name, data], separators=(",", ":")).encode()


DIALECTS: dict[str, Dialect] = {
    "peers": Peers(),
    "hinting": Hinting(),
    "guarded": Guarded(),
    "users": Users(),
    "peerjs": PeerJs(),
    "y-webrtc": YWebRtc(),
    "socketio": SocketIo(),
}
