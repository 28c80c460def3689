"""A peer outside of the browser, for tests of pages that show what others do."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.web.pages import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator


class Peer:
    """A connection to /ws/signaling/."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def say(self, kind: str, room: str, payload: dict[str, Any]) -> None:
        """Send a message."""
        self._socket.send(json.dumps({"type": kind, "room": room, "payload": payload}))

    def join(self, room: str, peer_id: str, **metadata: Any) -> None:
        """Join a room, and wait until that is done."""
        self.say("join", room, {"peer_id": peer_id, "metadata": metadata})
        self.expect("joined")

    def expect(self, kind: str) -> dict[str, Any]:
        """Wait for the next message of a type, and return it. An error comes only where it is expected."""
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=DEADLINE))
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message


@contextmanager
def connected(port: int, token: str = "") -> Iterator[Peer]:
    """A peer of a server on this machine, with an access token if one is given."""
    offered = [Subprotocol("mcp-actors"), Subprotocol(f"mcp-actors.token.{token}")] if token else None
    with connect(f"ws://127.0.0.1:{port}/ws/signaling/", subprotocols=offered, proxy=None) as socket:
        yield Peer(socket)
