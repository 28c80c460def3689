"""One connection of the observer: it does what it is told, and notes what it is sent."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from picows import WSCloseCode, WSError, WSListener, WSMsgType, ws_connect

from bench.chaos.record import EVERYBODY, Arrival, Event, News, Stay

if TYPE_CHECKING:
    from collections.abc import Callable

    from picows import WSFrame, WSTransport

    from bench.chaos.record import Role

JOIN, LEAVE = "join", "leave"
"""The ids of those requests; that of a message is its number and its target."""

GOODBYE_PATIENCE = 1.0
CLOSE_PATIENCE = 10.0

encode, decode = msgspec.json.encode, msgspec.json.decode
now = time.monotonic


class JoinError(Exception):
    """A member that could not get in; `str(error)` says why."""


class Member(WSListener):
    """The connection of one stay. `ended` is called once when the connection is gone."""

    def __init__(self, stay: Stay, ended: Callable[[Member], None]) -> None:
        self.stay = stay
        self.asked_to_end = False
        self._joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._ended = ended
        self._users: set[str] = set()
        self._code = ""
        self._transport: WSTransport | None = None

    @property
    def open(self) -> bool:
        """Whether it can send, and its messages mean something."""
        return self.stay.present and not self._gone.is_set()

    async def join(self, url: str, patience: float) -> None:
        """Connect and get into the room. Raises `JoinError`."""
        self.stay.asked_at = now()
        try:
            async with asyncio.timeout(patience):
                await self._dial(url, patience)
                await self._joined
        except TimeoutError:
            raise JoinError(f"not within {patience:.0f} s") from None
        except (OSError, WSError) as error:
            raise JoinError(str(error)) from None

    def signal(self, target: str) -> None:
        """The next signal for that peer."""
        number, at = self._next(target)
        data = {"from": self.stay.member, "to": target, "n": number, "t": at}
        self._send("signal", {"target_peer_id": target, "data": data}, f"{number}:{target}")

    def broadcast(self) -> None:
        """The next message for all other users."""
        number, at = self._next(EVERYBODY)
        content = {"from": self.stay.member, "to": EVERYBODY, "n": number, "t": at}
        self._send("message", {"content": content}, f"{number}:{EVERYBODY}")

    async def leave(self, patience: float) -> None:
        """Ask to leave, wait for the answer, close."""
        self.asked_to_end = True
        self.stay.ended_at = self.stay.ended_at or now()
        self._send("leave-room" if self.stay.role == "user" else "leave", {}, LEAVE)
        await asyncio.wait([self._left], timeout=patience)
        await self.close()

    async def close(self) -> None:
        """Say good-bye, so that the server waits for nobody; cut the connection if that is not answered."""
        self.asked_to_end = True
        self.stay.ended_at = self.stay.ended_at or now()
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_PATIENCE):
                    await self._gone.wait()
            self._transport.disconnect(graceful=False)
            async with asyncio.timeout(CLOSE_PATIENCE):
                await self._gone.wait()

    async def _dial(self, url: str, patience: float) -> None:
        await dial(self, self.stay.role, url, patience)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Ask to join."""
        self._transport = transport
        if self.stay.role == "user":
            transport.send(WSMsgType.TEXT, encode({"type": "connect", "payload": {"user_id": self.stay.member}}))
            self._send("join-room", {}, JOIN)
        else:
            self._send("join", {"peer_id": self.stay.member}, JOIN)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Note what came."""
        if frame.msg_type == WSMsgType.TEXT:
            self._read(decode(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.CLOSE:
            reason = frame.get_close_reason() or ""
            self._code = f"closed with {frame.get_close_code()} {reason}".rstrip()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the end."""
        self._gone.set()
        if not self.asked_to_end:
            self.stay.closed = self._code or "cut"
        self.stay.ended_at = self.stay.ended_at or now()
        self._fail(self._code or "cut")
        _settle(self._left)
        self._ended(self)

    def _next(self, target: str) -> tuple[int, float]:
        times = self.stay.sent.setdefault(target, [])
        times.append(now())
        return len(times), times[-1]

    def _send(self, kind: str, payload: dict[str, Any], name: str) -> None:
        if self._transport is not None and not self._gone.is_set():
            message = {"type": kind, "room": self.stay.room, "payload": payload, "id": name}
            self._transport.send(WSMsgType.TEXT, encode(message))

    def _read(self, message: dict[str, Any]) -> None:
        stay, payload = self.stay, message["payload"]
        match message["type"]:
            case "signal":
                self._arrive(payload["data"], message["sender"], message["sender"] in stay.roster)
            case "message":
                self._arrive(payload["content"], message["sender"], message["sender"] in self._users)
            case "ack":
                number, target = which(message["id"])
                stay.acknowledged.setdefault(target, set()).add(number)
            case "error":
                self._refuse(message.get("id"), payload)
            case kind:
                self._hear(kind, payload)

    def _hear(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "peer-joined":
                self.stay.hear(Event(now(), joined=True, peer=payload["peer_id"], order=payload["order"]))
            case "peer-left":
                self.stay.hear(Event(now(), joined=False, peer=payload["peer_id"]))
            case "peer-away" | "peer-back":
                self.stay.learn(News(now(), kind == "peer-away", payload["peer_id"]))
            case "user-joined":
                self._users.add(payload["user_id"])
            case "user-left":
                self._users.discard(payload["user_id"])
            case "joined" | "room-joined":
                self._enter(payload)
            case "left" | "room-left":
                self.stay.left_at = now()
                _settle(self._left)

    def _enter(self, payload: dict[str, Any]) -> None:
        self.stay.joined_at = now()
        self.stay.first_roster = {peer["peer_id"]: peer["order"] for peer in payload["peers"]}
        self.stay.roster = dict(self.stay.first_roster)
        self.stay.away = {peer["peer_id"] for peer in payload["peers"] if peer.get("away")}
        self._users = {user["user_id"] for user in payload.get("users", ())}
        _settle(self._joined)

    def _arrive(self, data: dict[str, Any], sender: str, known: bool) -> None:
        target, number = data["to"], data["n"]
        known = known and sender == data["from"] and target in (self.stay.member, EVERYBODY)
        self.stay.arrived.append(Arrival(now(), sender, target, number, data["t"], known))

    def _refuse(self, name: str | None, payload: dict[str, Any]) -> None:
        if name == JOIN:
            self.stay.join_error = payload["code"]
            self._fail(payload["code"])
        elif name and name != LEAVE:
            number, target = which(name)
            self.stay.refused.setdefault(target, {})[number] = payload["code"]

    def _fail(self, why: str) -> None:
        if not self._joined.done():
            self._joined.set_exception(JoinError(why))
            self._joined.exception()  # it is known, even if nobody waits


async def dial(listener: WSListener, role: Role, url: str, patience: float) -> None:
    """Connect to a node's endpoint for that role. Raises TimeoutError, OSError, `WSError`."""
    path = "/ws/mcp/" if role == "user" else "/ws/signaling/"
    await ws_connect(lambda: listener, url + path, websocket_handshake_timeout=patience)


def which(name: str) -> tuple[int, str]:
    """The number and the target of a message, from its id."""
    number, _, target = name.partition(":")
    return int(number), target


def _settle(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)
