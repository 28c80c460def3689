"""A client for checks: it sends what it is told, and says exactly what it expected and what came instead."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.asyncio.client import ClientConnection

PATIENCE = 5.0
"""Seconds for which a check waits for a message."""

MAX_SHOWN = 300
_ABSENT = object()


class Failed(Exception):
    """A requirement is not kept; the text says what was expected, and what came instead."""


class Client:
    """One connection. `transcript`: what was sent and received on it, a line for each."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.transcript: list[str] = []
        self.delivery = 0
        """The number of the last message of its session."""

    async def say(
        self, kind: str, room: str | None = None, payload: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        """Send a message; `more` are further fields beside `type`."""
        fields = {"type": kind, "room": room, "payload": payload} | more
        await self.send(json.dumps({name: value for name, value in fields.items() if value is not None}))

    async def send(self, frame: str | bytes) -> None:
        """Send a frame as it is."""
        self.transcript.append(f"> {_short(frame)}")
        try:
            await self._socket.send(frame)
        except ConnectionClosed as closed:
            raise Failed(f"an open connection was expected, but {_closed(closed)}") from None

    async def hear_frame(self, expected: str = "a message") -> str | bytes:
        """The next frame."""
        try:
            async with asyncio.timeout(PATIENCE):
                frame = await self._socket.recv()
        except TimeoutError:
            raise Failed(f"{expected} was expected, but nothing came for {PATIENCE:g} seconds") from None
        except ConnectionClosed as closed:
            raise Failed(f"{expected} was expected, but {_closed(closed)}") from None
        self.transcript.append(f"< {_short(frame)}")
        return frame

    async def hear(self, expected: str = "a message") -> dict[str, Any]:
        """The next message."""
        message = json.loads(await self.hear_frame(expected))
        if not isinstance(message, dict):
            raise Failed(f"a JSON object was expected, not {_short(str(message))}")
        self.delivery = message.get("delivery", self.delivery)
        return message

    async def expect(self, kind: str, message_id: Any = _ABSENT, **payload: Any) -> dict[str, Any]:
        """The next message, which has this type, these fields in its payload, and this `id` if one is given."""
        wanted = f"`{kind}`" + (f" with {payload}" if payload else "")
        if message_id is not _ABSENT:
            wanted += f" and the id {message_id!r}"
        message = await self.hear(wanted)
        given = message.get("payload", {})
        fits = message.get("type") == kind and all(given.get(name, _ABSENT) == value for name, value in payload.items())
        if not fits or (message_id is not _ABSENT and message.get("id", _ABSENT) != message_id):
            raise Failed(f"{wanted} was expected, not {_short(json.dumps(message))}")
        return message

    async def expect_error(self, code: str, message_id: Any = _ABSENT) -> dict[str, Any]:
        """The payload of the next message, which is this error."""
        payload: dict[str, Any] = (await self.expect("error", message_id, code=code))["payload"]
        return payload

    async def expect_nothing(self) -> None:
        """Nothing has come for this client: the answer to a ping is the next message."""
        await self.say("ping", id="nothing-before")
        await self.expect("pong", "nothing-before")

    async def expect_close(self, code: int) -> None:
        """The server closes the connection with this code; messages before are passed over."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self.transcript.append(f"< {_short(await self._socket.recv())}")
        except TimeoutError:
            raise Failed(f"a close with {code} was expected within {PATIENCE:g} seconds") from None
        except ConnectionClosed as closed:
            found = closed.rcvd.code if closed.rcvd else None
            if found != code:
                raise Failed(f"a close with {code} was expected, but {_closed(closed)}") from None

    async def join(self, room: str, peer_id: str, **more: Any) -> dict[str, Any]:
        """Join a room; the payload of `joined`."""
        await self.say("join", room, {"peer_id": peer_id, **more}, id=f"join {peer_id}")
        payload: dict[str, Any] = (await self.expect("joined", f"join {peer_id}"))["payload"]
        return payload

    async def signal(self, room: str, target: str, data: Any, **more: Any) -> None:
        """Send a signal to a peer."""
        await self.say("signal", room, {"target_peer_id": target, "data": data}, **more)

    async def ping(self) -> None:
        """Send a ping of WebSockets, and wait for its pong."""
        try:
            async with asyncio.timeout(PATIENCE):
                await (await self._socket.ping(b"conformance"))
        except (TimeoutError, ConnectionClosed):
            raise Failed("a pong was expected") from None

    async def close(self) -> None:
        """Leave for good."""
        await self._socket.close(1000)

    def drop(self) -> None:
        """Break the connection, without a close frame."""
        self._socket.transport.abort()


def _closed(closed: ConnectionClosed) -> str:
    return f"the connection was closed with {closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "it broke"


def _short(frame: str | bytes) -> str:
    text = frame if isinstance(frame, str) else repr(frame)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + " ..."
