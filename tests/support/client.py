"""A WebSocket client that lets tests read as a dialogue: `say`, `hear`, `expect`."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

DEADLINE = 20.0
"""Seconds to wait for anything. Most things take milliseconds."""

Frame = dict[str, Any]
DELIVERY = re.compile(r'\{"delivery":([1-9][0-9]*),')


class Closed(Exception):
    """The server closed the connection."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Client:
    """One WebSocket connection; every wait has a deadline."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received = 0
        """The last delivery number received."""

    @classmethod
    async def open(cls, url: str, trusting: SSLContext | None = None, **headers: str) -> Self:
        """Connect. Raises `websockets.exceptions.InvalidStatus` if the handshake is refused."""
        async with asyncio.timeout(DEADLINE):
            return cls(await connect(url, **_options(headers), proxy=None, ssl=trusting))

    @classmethod
    async def open_at(cls, path: Path, url: str, **headers: str) -> Self:
        """Connect to a Unix socket."""
        async with asyncio.timeout(DEADLINE):
            return cls(await unix_connect(os.fspath(path), url, **_options(headers)))

    async def say(self, kind: str, room: str | None = None, payload: Frame | None = None, **fields: Any) -> None:
        """Send a message; the payload defaults to an empty object."""
        message: Frame = {"type": kind, "payload": payload or {}, **fields}
        if room is not None:
            message["room"] = room
        await self.send(json.dumps(message))

    async def send(self, frame: str | bytes) -> None:
        """Send a frame unchanged; bytes become a binary frame."""
        await self.socket.send(frame)

    async def hear_text(self) -> str:
        """Return the next frame as text. Raises `Closed` when the connection is closed."""
        try:
            async with asyncio.timeout(DEADLINE):
                frame = await self.socket.recv()
        except ConnectionClosed:
            raise Closed(self.socket.close_code, self.socket.close_reason) from None
        assert isinstance(frame, str), "the server answers in text"
        return frame

    async def hear_stamped(self) -> str:
        """Return the next frame without its delivery number, after checking that the number rose by one."""
        text = await self.hear_text()
        found = DELIVERY.match(text)
        if found is None:
            return text
        number = int(found[1])
        assert self.received in (0, number - 1), f"delivery {number} after {self.received}"
        self.received = number
        return "{" + text[found.end() :]

    async def hear(self) -> Frame:
        """Return the next message, decoded, without its delivery number."""
        message: Frame = json.loads(await self.hear_stamped())
        assert "delivery" not in message
        return message

    async def expect(self, kind: str, **payload: Any) -> Frame:
        """Return the next message and check its type and these fields of its payload."""
        message = await self.hear()
        assert message["type"] == kind, message
        for name, value in payload.items():
            assert message["payload"].get(name) == value, message
        return message

    async def expect_error(self, code: str) -> Frame:
        """Check that the next message is this error, and return its payload."""
        message = await self.expect("error", code=code)
        payload: Frame = message["payload"]
        assert payload["message"]
        return payload

    async def expect_close(self, code: int) -> None:
        """Read until the server closes the connection, and check the close code."""
        closed: Closed | None = None
        while closed is None:
            try:
                await self.hear()
            except Closed as end:
                closed = end
        assert closed.code == code, closed

    async def drain(self, room: str) -> list[Frame]:
        """Return all messages sent to this peer so far; an error that answers a request of its own marks the end."""
        await self.say("signal", room, {"target_peer_id": "nobody at all", "data": 0}, id="drain")
        heard = []
        while (message := await self.hear()).get("id") != "drain":
            heard.append(message)
        return heard

    async def join(self, room: str, peer_id: str, **fields: Any) -> Frame:
        """Join as a peer and return the payload of the reply."""
        await self.say("join", room, {"peer_id": peer_id, **fields})
        payload: Frame = (await self.expect("joined"))["payload"]
        return payload

    async def enter(self, room: str, user_id: str) -> Frame:
        """Connect and join as a user, and return the payload of the reply."""
        await self.say("connect", None, {"user_id": user_id})
        await self.expect("connected", user_id=user_id)
        await self.say("join-room", room)
        payload: Frame = (await self.expect("room-joined"))["payload"]
        return payload

    def stop_reading(self) -> None:
        """Keep the socket open but stop reading it: no message is read and no ping is answered."""
        self.socket.transport.pause_reading()

    def vanish(self) -> None:
        """Drop the connection without a close frame."""
        self.socket.transport.abort()

    async def end(self) -> None:
        """Drop the connection, whatever its state, and wait until it is closed."""
        self.vanish()
        async with asyncio.timeout(DEADLINE):
            await self.socket.wait_closed()

    async def close(self, code: int = 1000) -> None:
        """Close with a handshake."""
        async with asyncio.timeout(DEADLINE):
            await self.socket.close(code)


def _options(headers: dict[str, str]) -> dict[str, Any]:
    return {"additional_headers": headers, "compression": None, "max_queue": None, "ping_interval": None}
