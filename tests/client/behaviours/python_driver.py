"""The driver of `mcp_actors.client`."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec

from mcp_actors.client import (
    Kicked,
    PeerClient,
    PeerRoom,
    RoomClosed,
    RoomLocked,
    RoomUnlocked,
    SignalingError,
    State,
    UserClient,
    UserRoom,
    connect,
    connect_user,
)
from tests.client.behaviours.driver import Events, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.client import Event

NAMES = {"IceServersRenewed": "ice-servers"}
STATES = {State.OPEN: "open", State.RECONNECTING: "reconnecting", State.CLOSED: "close"}


class PythonDriver:
    """See `Driver`: clients in this process."""

    def __init__(self) -> None:
        self.events = Events()
        self._clients: dict[str, PeerClient | UserClient] = {}
        self._rooms: dict[tuple[str, str], PeerRoom | UserRoom] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def call(self, command: str, **arguments: Any) -> Any:
        """See `Driver`."""
        try:
            return await getattr(self, f"_{command.replace('-', '_')}")(**arguments)
        except SignalingError as error:
            raise Refused(error.code, error.message, retryable=error.retryable, details=error.details) from None

    async def close(self) -> None:
        """Close all clients."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _connect(self, client: str, url: str, **options: Any) -> None:
        await self._enter(client, connect(url, **self._options(client, **options)))

    async def _connect_user(self, client: str, url: str, userId: str | None = None, **options: Any) -> None:  # noqa: N803
        await self._enter(client, connect_user(url, userId, **self._options(client, **options)))

    def _options(self, client: str, tokens: list[str] | None = None, connectTimeout: float = 30_000) -> Any:  # noqa: N803
        def tell(state: State) -> None:
            self.events.put(client, None, STATES.get(state, str(state)), None)

        return {"token": _in_turn(tokens), "connect_timeout": connectTimeout / 1000, "on_state": tell}

    async def _enter(self, name: str, client: PeerClient | UserClient) -> None:
        self._clients[name] = client
        await client.__aenter__()

    async def _close(self, client: str) -> None:
        await self._clients[client].close()

    async def _reconnect(self, client: str) -> None:
        self._clients[client].reconnect()

    async def _join(self, client: str, room: str, peerId: str | None = None, **options: Any) -> Any:  # noqa: N803
        joining = self._clients[client]
        joined: PeerRoom | UserRoom
        if isinstance(joining, PeerClient):
            joined = await joining.join(room, peerId, **options)
        else:
            joined = await joining.join(room)
        self._rooms[client, room] = joined
        self._reading.add(asyncio.create_task(self._read(client, joined)))
        return await self._room(client, room)

    async def _read(self, client: str, room: PeerRoom | UserRoom) -> None:
        ended = {"code": "left"}
        try:
            async for event in room:
                if isinstance(event, Kicked | RoomClosed):
                    code = "kicked" if isinstance(event, Kicked) else "room-closed"
                    ended = {"code": code, "reason": event.reason, "message": event.message}
                else:
                    self.events.put(client, room.name, *_named(event))
        except SignalingError as error:
            ended = {"code": error.code, "message": error.message}
        self.events.put(client, room.name, "ended", ended)

    async def _room(self, client: str, room: str) -> Any:
        view = self._rooms[client, room]
        common = {"locked": view.locked, "joined": view.joined}
        if isinstance(view, UserRoom):
            return common | {"users": list(view.users), "peers": _metadata(view, None)}
        return common | {
            "peerId": view.peer_id,
            "order": view.order,
            "peers": _metadata(view, view.peer_id),
            "away": [peer for peer, member in view.peers.items() if member.away],
            "iceServers": view.ice_servers,
        }

    async def _offer(self, **sent: Any) -> Any:
        return await self._relay("offer", **sent)

    async def _answer(self, **sent: Any) -> Any:
        return await self._relay("answer", **sent)

    async def _candidate(self, **sent: Any) -> Any:
        return await self._relay("candidate", **sent)

    async def _signal(self, **sent: Any) -> Any:
        return await self._relay("signal", **sent)

    async def _relay(self, kind: str, client: str, room: str, to: str, value: Any = None, **number: int) -> Any:
        return {"status": await getattr(self._rooms[client, room], kind)(to, value, **number)}

    async def _send(self, client: str, room: str, value: Any) -> None:
        sending = self._rooms[client, room]
        assert isinstance(sending, UserRoom)
        await sending.send(value)

    async def _update(self, client: str, room: str, value: Any) -> None:
        await self._rooms[client, room].update(value)

    async def _leave(self, client: str, room: str) -> None:
        await self._rooms[client, room].leave()

    async def _lock(self, client: str, room: str) -> None:
        await self._rooms[client, room].lock()

    async def _unlock(self, client: str, room: str) -> None:
        await self._rooms[client, room].unlock()

    async def _renew_ice_servers(self, client: str, room: str) -> None:
        renewing = self._rooms[client, room]
        assert isinstance(renewing, PeerRoom)
        await renewing.renew_ice_servers()

    async def _kick(self, client: str, room: str, **options: Any) -> None:
        await self._rooms[client, room].kick(**{_snake(name): value for name, value in options.items()})

    async def _close_room(self, client: str, room: str, **options: Any) -> None:
        await self._rooms[client, room].close(**options)


def _in_turn(tokens: list[str] | None) -> Callable[[], str] | str | None:
    """A function that returns one after the other; a single token is a string."""
    if not tokens or len(tokens) == 1:
        return tokens[0] if tokens else None
    left = list(tokens)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def _metadata(room: PeerRoom | UserRoom, me: str | None) -> dict[str, Any]:
    return {peer: member.metadata for peer, member in room.peers.items() if peer != me}


def _named(event: Event) -> tuple[str, Any]:
    """The name and the detail of an event in the JavaScript API."""
    if isinstance(event, RoomLocked | RoomUnlocked):
        return "lock-changed", {"locked": isinstance(event, RoomLocked)}
    kind = type(event).__name__
    name = NAMES.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    fields = msgspec.structs.asdict(event)
    return name, {_camel(field): value for field, value in fields.items()}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
