"""A signaling server that sends exactly what a test tells it to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.web.pages import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, WebSocketRoute


class ScriptedServer:
    """Serves /ws/scripted/ of a page: records requests, and sends the messages of the test."""

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.requests: list[dict[str, Any]] = []
        self.greeting: list[dict[str, Any]] = []
        """The messages that answer a `join` of room r; `joined` gets the id of the request."""
        self.close_with: tuple[int, str] | None = None
        """The code and the reason with which each new connection is closed."""
        self.pings = 0
        self.answers_pings = True

    def over(self, page: Page) -> None:
        """Serve a page."""
        page.route_web_socket("**/ws/scripted/**", self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(self._receive)
        if self.close_with is not None:
            code, reason = self.close_with
            socket.close(code=code, reason=reason)

    def _receive(self, frame: str | bytes) -> None:
        request = json.loads(frame)
        if request["type"] == "ping":
            self.pings += 1
            if self.answers_pings:
                self.sockets[-1].send(json.dumps(request | {"type": "pong"}))
            return
        self.requests.append(request)
        if request["type"] == "join" and request["room"] == "r":
            for answer in self.greeting:
                self.send(**({"id": request["id"]} if answer["type"] == "joined" else {}) | answer)

    def send(self, **message: Any) -> None:
        """Send a message of the room on the newest connection."""
        send_on(self.sockets[-1], **message)

    def wait_for_requests(self, page: Page, count: int) -> list[dict[str, Any]]:
        """All requests so far, once there are this many."""
        wait_until(page, lambda: len(self.requests) >= count, f"{count} requests, not {self.requests}")
        return self.requests


def send_on(socket: WebSocketRoute, **message: Any) -> None:
    """Send a message of the room on one of several connections."""
    socket.send(json.dumps({"room": "r", **message}))


def ask_to_reconnect(socket: WebSocketRoute, after: int) -> None:
    """Send `reconnect`, with a delay in milliseconds."""
    socket.send(json.dumps({"type": "reconnect", "payload": {"after_ms": after}}))


def joined(delivery: int, token: str, **fields: Any) -> dict[str, Any]:
    """The reply to `join`."""
    peers = [{"peer_id": "me", "metadata": {}, "order": 1}]
    payload = {"peer_id": "me", "order": 1, "peers": peers, "ice_servers": [], "resume": token, **fields}
    return {"delivery": delivery, "type": "joined", "payload": payload}


def signalled(delivery: int) -> dict[str, Any]:
    """A signal whose data is its delivery number."""
    return {"delivery": delivery, "sender": "you", "type": "signal", "payload": {"data": delivery}}
