"""A client that records what it sends and receives."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from picows import WSCloseCode, WSError, WSListener, WSMsgType, ws_connect

from bench.chaos.record import EVERYBODY, LOCK, Arrival, Event, News, Stay, roster_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from picows import WSFrame, WSTransport

    from bench.chaos.record import Role

JOIN, LEAVE, KICK, UPDATE = "join", "leave", "kick", "update"
"""The ids of these requests; that of a kick is followed by its target. The id of a message is its number and target."""

CLOSE_FRAME_TIMEOUT = 1.0
CLOSE_TIMEOUT = 10.0

encode, decode = msgspec.json.encode, msgspec.json.decode


def now() -> float:
    """Seconds of the monotonic clock."""
    return time.monotonic()


class JoinError(Exception):
    """A member could not join; `str(error)` says why."""


class Member(WSListener):
    """A client with one connection. `ended` is called once when the connection is closed.

    `access`: its access token, if it has one.
    """

    def __init__(self, stay: Stay, ended: Callable[[Member], None], access: str = "") -> None:
        self.stay = stay
        self.access = access
        self.asked_to_end = False
        self._asked: dict[str, asyncio.Future[str]] = {}
        self._joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._ended = ended
        self._users: set[str] = set()
        self._code = ""
        self._transport: WSTransport | None = None

    @property
    def open(self) -> bool:
        """Whether it is in its room and can send."""
        return self.stay.present and not self._gone.is_set()

    async def join(self, url: str, max_wait: float) -> None:
        """Connect and join. Raises `JoinError`."""
        self.stay.asked_at = now()
        try:
            async with asyncio.timeout(max_wait):
                await self._dial(url, max_wait)
                await self._joined
        except TimeoutError:
            raise JoinError(f"not within {max_wait:.0f} s") from None
        except (OSError, WSError) as error:
            raise JoinError(str(error)) from None

    def signal(self, target: str) -> None:
        """Send the next signal to a peer."""
        number, at = self._next(target)
        data = {"from": self.stay.member, "to": target, "n": number, "t": at}
        self._send("signal", {"target_peer_id": target, "data": data}, f"{number}:{target}")

    def broadcast(self) -> None:
        """Broadcast the next message to all other users."""
        number, at = self._next(EVERYBODY)
        content = {"from": self.stay.member, "to": EVERYBODY, "n": number, "t": at}
        self._send("message", {"content": content}, f"{number}:{EVERYBODY}")

    def update(self) -> None:
        """Replace the metadata of this member."""
        self.stay.updates += 1
        self._send("update", {"metadata": {"update": self.stay.updates}}, UPDATE)

    async def kick(self, target: str, max_wait: float) -> str:
        """Remove a peer from the room. Return `kicked`, an error code, or nothing if there is no answer in time."""
        return await self.moderate("kick", {"peer_id": target}, f"{KICK}:{target}", max_wait)

    async def moderate(self, kind: str, payload: dict[str, Any], name: str, max_wait: float) -> str:
        """Send a moderator's request under a name; return the type of the reply, an error code, or nothing in time."""
        answer = self._asked[name] = asyncio.get_running_loop().create_future()
        self._send(kind, payload, name)
        await asyncio.wait([answer], timeout=max_wait)
        return answer.result() if answer.done() else ""

    async def leave(self, max_wait: float) -> None:
        """Ask to leave, wait for the reply and close."""
        self.asked_to_end = True
        self.stay.ended_at = self.stay.ended_at or now()
        self._send("leave-room" if self.stay.role == "user" else "leave", {}, LEAVE)
        await asyncio.wait([self._left], timeout=max_wait)
        await self.close()

    async def close(self) -> None:
        """Close with 1000, so that the session ends at once, and abort if that is not answered in time."""
        self.asked_to_end = True
        self.stay.ended_at = self.stay.ended_at or now()
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_FRAME_TIMEOUT):
                    await self._gone.wait()
            self._transport.disconnect(graceful=False)
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._gone.wait()

    async def _dial(self, url: str, max_wait: float) -> None:
        await dial(self, self.stay.role, url, max_wait, self.access)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send the join, unless it has given up meanwhile."""
        self._transport = transport
        if self.asked_to_end:
            transport.disconnect(graceful=False)
            return
        if self.stay.role == "user":
            transport.send(WSMsgType.TEXT, encode({"type": "connect", "payload": {"user_id": self.stay.member}}))
            self._send("join-room", {}, JOIN)
        else:
            self._send("join", {"peer_id": self.stay.member}, JOIN)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Record a message or the server's close frame."""
        if frame.msg_type == WSMsgType.TEXT:
            self._read(decode(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.CLOSE:
            reason = frame.get_close_reason() or ""
            self._code = f"closed with {frame.get_close_code()} {reason}".rstrip()
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Record the end of the connection."""
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
        stay, payload = self.stay, message.get("payload", {})
        match message["type"]:
            case "signal":
                self._arrive(payload["data"], message["sender"], message["sender"] in stay.roster)
            case "message":
                self._arrive(payload["content"], message["sender"], message["sender"] in self._users)
            case "kicked" if "id" in message:
                self._answer(message["id"], "kicked")
            case "room-locked" | "room-unlocked":
                self._lock(message)
            case "ack":
                number, target = which(message["id"])
                stay.acknowledged.setdefault(target, {}).setdefault(number, now())
            case "updated":
                stay.updated = stay.metadata[stay.member] = _update_of(payload)
            case "error":
                self._refuse(message.get("id"), payload)
            case kind:
                self._hear(kind, payload)

    def _lock(self, message: dict[str, Any]) -> None:
        """Apply a lock to the roster. The reply to a request may tell the moderator what it knows."""
        locked, name = message["type"] == "room-locked", message.get("id")
        if name is not None:
            self._answer(name, message["type"])
        if name is None or locked is not (LOCK in self.stay.roster):
            self.stay.hear(Event(now(), joined=locked, peer=LOCK))

    def _answer(self, name: str, answer: str) -> None:
        waiting = self._asked.get(name)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _hear(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "peer-joined":
                self.stay.hear(Event(now(), joined=True, peer=payload["peer_id"], order=payload["order"]))
                self.stay.metadata[payload["peer_id"]] = _update_of(payload)
            case "peer-updated":
                self.stay.metadata[payload["peer_id"]] = _update_of(payload)
            case "peer-left":
                self.stay.hear(Event(now(), joined=False, peer=payload["peer_id"], reason=payload["reason"]))
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
            case "kicked":  # the connection is closed next
                self.asked_to_end = True
                self.stay.ended_at = self.stay.ended_at or now()

    def _enter(self, payload: dict[str, Any]) -> None:
        self.stay.joined_at = now()
        self.stay.first_roster = roster_in(payload)
        self.stay.roster = dict(self.stay.first_roster)
        self._learn_metadata(payload)
        self.stay.away = {peer["peer_id"] for peer in payload["peers"] if peer.get("away")}
        self._users = {user["user_id"] for user in payload.get("users", ())}
        _settle(self._joined)

    def _learn_metadata(self, payload: dict[str, Any]) -> None:
        self.stay.metadata = {peer["peer_id"]: _update_of(peer) for peer in payload["peers"]}

    def _arrive(self, data: dict[str, Any], sender: str, known: bool) -> None:
        target, number = data["to"], data["n"]
        known = known and sender == data["from"] and target in (self.stay.member, EVERYBODY)
        self.stay.arrived.append(Arrival(now(), sender, target, number, data["t"], known))

    def _refuse(self, name: str | None, payload: dict[str, Any]) -> None:
        if name == JOIN:
            self.stay.join_error = payload["code"]
            self._fail(payload["code"])
        elif name in self._asked:
            self._answer(name, payload["code"])
        elif name and name not in (LEAVE, UPDATE):
            number, target = which(name)
            self.stay.refused.setdefault(target, {})[number] = payload["code"]

    def _fail(self, why: str) -> None:
        if not self._joined.done():
            self._joined.set_exception(JoinError(why))
            self._joined.exception()  # retrieved here, as nobody may wait for it


async def dial(
    listener: WSListener, role: Role, url: str, max_wait: float, access: str = "", *, answers_pings: bool = True
) -> None:
    """Connect to the endpoint for a role. Raises TimeoutError, OSError, `WSError`."""
    path = "/ws/mcp/" if role == "user" else "/ws/signaling/"
    await ws_connect(
        lambda: listener,
        url + path,
        websocket_handshake_timeout=max_wait,
        enable_auto_pong=answers_pings,
        extra_headers={"Authorization": f"Bearer {access}"} if access else None,
    )


def which(name: str) -> tuple[int, str]:
    """Return the number and the target of a message from its id."""
    number, _, target = name.partition(":")
    return int(number), target


def _update_of(payload: dict[str, Any]) -> int:
    return int(payload["metadata"].get("update", 0))


def _settle(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)
