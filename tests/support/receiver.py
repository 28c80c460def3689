"""A receiver of webhooks in the test's own loop, which fails as tests want it."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tornado.web import RequestHandler

from tests.support.loop import until
from tests.support.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "whsec_" + base64.b64encode(b"a secret of at least 24 bytes").decode()


class Arrived(NamedTuple):
    """One request: the id of its event, its type, and the data of its body."""

    id: str
    type: str
    data: dict[str, Any]

    @property
    def room(self) -> str:
        """The room of the event."""
        return str(self.data.get("room", ""))

    @property
    def what(self) -> tuple[str, str, str]:
        """The type, the room, and the member or the reason."""
        return self.type, self.room, str(self.data.get("id", ""))


class Receiver(WebServer):
    """`answer` returns the status for an event; `hold` is awaited before. All that arrives is verified and kept."""

    def __init__(self, secret: str = SECRET) -> None:
        self.key = base64.b64decode(secret.removeprefix("whsec_"))
        self.answer: Callable[[Arrived], int] = lambda _arrived: 204
        self.headers: dict[str, str] = {}
        self.body = b""
        self.hold = asyncio.Event()
        self.hold.set()
        self.arrived: list[Arrived] = []
        """All requests in their order, those that failed, too."""
        self.accepted: list[Arrived] = []
        self.under_way: dict[str, int] = {}
        self.most_under_way = 0
        super().__init__("/hook", _Hook)

    @property
    def url(self) -> str:
        """The value for MCP_ACTORS_WEBHOOK_URL."""
        return f"http://127.0.0.1:{self.port}/hook?token=private"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server that reports to it."""
        return {"webhook_url": self.url, "webhook_secret": [SECRET]}

    @property
    def environ(self) -> dict[str, str]:
        """The same, as variables of the environment."""
        return {"MCP_ACTORS_WEBHOOK_URL": self.url, "MCP_ACTORS_WEBHOOK_SECRET": SECRET}

    def unique(self) -> list[Arrived]:
        """The events that were accepted, each once, in the order in which each came first."""
        return list({one.id: one for one in reversed(self.accepted)}.values())[::-1]

    def of_room(self, room: str) -> list[tuple[str, str]]:
        """The events of a room, each once: their types and members."""
        return [(one.type, str(one.data.get("id", ""))) for one in self.unique() if one.room == room]

    async def has(self, count: int) -> None:
        """Wait for so many different events."""
        await until(lambda: len(self.unique()) >= count, f"{count} events")


class _Hook(RequestHandler):
    def initialize(self, owner: Receiver) -> None:
        self.receiver = owner

    async def post(self) -> None:
        receiver, headers, body = self.receiver, self.request.headers, self.request.body
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.digest(receiver.key, content, "sha256")).decode()
        assert f"v1,{signature}" in headers["webhook-signature"].split()
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
        event = json.loads(body)
        arrived = Arrived(headers["webhook-id"], event["type"], event["data"])
        receiver.arrived.append(arrived)
        under_way = receiver.under_way
        under_way[arrived.room] = under_way.get(arrived.room, 0) + 1
        receiver.most_under_way = max(receiver.most_under_way, sum(under_way.values()))
        try:
            await receiver.hold.wait()
        finally:
            under_way[arrived.room] -= 1
        status = receiver.answer(arrived)
        if 200 <= status < 300:
            receiver.accepted.append(arrived)
        self.set_status(status)
        for name, value in receiver.headers.items():
            self.set_header(name, value)
        if receiver.body:
            self.write(receiver.body)
