"""A client that makes tests read as dialogue: `say`, `hear`, `expect`."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from ssl import SSLContext

DEADLINE = 5.0
"""Seconds to wait for anything; what a test waits for takes milliseconds."""

Frame = dict[str, Any]
DELIVERY = re.compile(r'\{"delivery":([1-9][0-9]*),')


class Closed(Exception):
    """The server closed the connection."""

    def __init__(self, code: int | None, reason: str | None) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Client:
    """One WebSocket to a server; every wait has a deadline."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received = 0
        """The last delivery number."""

    @classmethod
    async def open(cls, url: str, trusting: SSLContext | None = None, **headers: str) -> Self:
        """Connect; raises `websockets.exceptions.InvalidStatus` if the handshake is refused."""
        async with asyncio.timeout(DEADLINE):
            socket = await connect(
                url,
                additional_headers=headers,
                compression=None,
                max_queue=None,
                ping_interval=None,
                proxy=None,
                ssl=trusting,
            )
        return cls(socket)

    async def say(self, kind: str, room: str | None = None, payload: Frame | None = None, **fields: Any) -> None:
        """Send a message; without a payload it has an empty one."""
        message: Frame = {"type": kind, "payload": payload or {}, **fields}
        if room is not None:
            message["room"] = room
        await self.send(json.dumps(message))

    async def send(self, frame: str | bytes) -> None:
        """Send a frame as it is, binary if it is bytes."""
        await self.socket.send(frame)

    async def hear_text(self) -> str:
        """The next frame as it came; raises `Closed` at the end."""
        try:
            async with asyncio.timeout(DEADLINE):
                frame = await self.socket.recv()
        except ConnectionClosed:
            raise Closed(self.socket.close_code, self.socket.close_reason) from None
        assert isinstance(frame, str), "the server answers in text"
        return frame

    async def hear_stamped(self) -> str:
        """The next frame as it came, but for the delivery number in front: each is one more than the one before."""
        text = await self.hear_text()
        found = DELIVERY.match(text)
        if found is None:
            return text
        number = int(found[1])
        assert self.received in (0, number - 1), f"delivery {number} after {self.received}"
        self.received = number
        return "{" + text[found.end() :]

    async def hear(self) -> Frame:
        """The next message, without its delivery number."""
        message: Frame = json.loads(await self.hear_stamped())
        assert "delivery" not in message
        return message

    async def expect(self, kind: str, **payload: Any) -> Frame:
        """The next message, which must be of this type, with these fields in its payload."""
        message = await self.hear()
        assert message["type"] == kind, message
        for name, value in payload.items():
            assert message["payload"].get(name) == value, message
        return message

    async def expect_error(self, code: str) -> Frame:
        """The next message, which must be this error; its payload is returned."""
        message = await self.expect("error", code=code)
        payload: Frame = message["payload"]
        assert payload["message"]
        return payload

    async def expect_close(self, code: int) -> None:
        """The server closes with this code, after whatever it still had to say."""
        closed: Closed | None = None
        while closed is None:
            try:
                await self.hear()
            except Closed as end:
                closed = end
        assert closed.code == code, closed

    async def drain(self, room: str) -> list[Frame]:
        """All that the room has had to say to this peer so far: its answer to a question of its own comes last."""
        await self.say("signal", room, {"target_peer_id": "nobody at all", "data": 0}, id="drain")
        heard = []
        while (message := await self.hear()).get("id") != "drain":
            heard.append(message)
        return heard

    async def join(self, room: str, peer_id: str, **fields: Any) -> Frame:
        """Join as a peer; the payload of the answer is returned."""
        await self.say("join", room, {"peer_id": peer_id, **fields})
        payload: Frame = (await self.expect("joined"))["payload"]
        return payload

    async def enter(self, room: str, user_id: str) -> Frame:
        """Connect and join as a user; the payload of the answer is returned."""
        await self.say("connect", None, {"user_id": user_id})
        await self.expect("connected", user_id=user_id)
        await self.say("join-room", room)
        payload: Frame = (await self.expect("room-joined"))["payload"]
        return payload

    def stop_reading(self) -> None:
        """Leave the socket open and never look at it again: no message is read, no ping answered."""
        self.socket.transport.pause_reading()

    def vanish(self) -> None:
        """Close the socket without a word."""
        self.socket.transport.abort()

    async def end(self) -> None:
        """Be gone, whatever state the connection is in."""
        self.vanish()
        async with asyncio.timeout(DEADLINE):
            await self.socket.wait_closed()

    async def close(self) -> None:
        """Close, and wait for the server to agree."""
        async with asyncio.timeout(DEADLINE):
            await self.socket.close()
