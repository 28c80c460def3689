"""What the clients in Python and JavaScript have in common, as commands and events.

A driver carries out commands: a name and arguments, which are JSON. It returns JSON, or raises `Refused`. The names are
those of the JavaScript API, and so are the names and the `detail` of events.

| command | arguments | result |
|---|---|---|
| `connect` | `client`, `url`, `tokens` (one after the other, the last again), `connectTimeout` (ms) | `null` |
| `connect-user` | the same, and `userId` | `null` |
| `close`, `reconnect` | `client` | `null` |
| `join` | `client`, `room`, `peerId`, `metadata`, `presence` | that of `room` |
| `room` | `client`, `room` | `locked`, `joined`, `peers` (metadata by id), `away`, `order`, `iceServers`, `users` ... |
| `offer`, `answer`, `candidate`, `signal` | `client`, `room`, `to`, `value`, `negotiation` | `{status}` |
| `send`, `update` | `client`, `room`, `value` | `null` |
| `leave`, `lock`, `unlock`, `renew-ice-servers` | `client`, `room` | `null` |
| `kick` | `client`, `room`, `peerId`, `banSeconds`, `reason`, `message` | `null` |
| `close-room` | `client`, `room`, `reason`, `message` | `null` |
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE = 30.0
"""Seconds after which an event will not come."""


class Refused(Exception):
    """A command failed with a SignalingError."""

    def __init__(self, code: str, message: str, *, retryable: bool, details: dict[str, Any] | None) -> None:
        super().__init__(f"{message} ({code})")
        self.code, self.message, self.retryable, self.details = code, message, retryable, details or {}


class Heard(NamedTuple):
    """An event of a room, or of a connection."""

    event: str
    detail: Any


class Events:
    """The events of all clients and their rooms, each in order."""

    def __init__(self) -> None:
        self._queues: defaultdict[tuple[str, str | None], asyncio.Queue[Heard]] = defaultdict(asyncio.Queue)

    def put(self, client: str, room: str | None, event: str, detail: Any) -> None:
        """Keep an event. `room`: None for one of a connection."""
        self._queues[client, room].put_nowait(Heard(event, detail))

    async def get(self, client: str, room: str | None) -> Heard:
        """Wait for the next event."""
        async with asyncio.timeout(DEADLINE):
            return await self._queues[client, room].get()


class Driver(Protocol):
    """Carries out commands with one of the clients."""

    events: Events

    async def call(self, command: str, **arguments: Any) -> Any:
        """Carry out a command. Raises `Refused`."""


class Client:
    """A connection that a driver has made."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver, self.name = driver, name

    async def join(self, room: str, peer_id: str | None = None, **options: Any) -> Room:
        """Join a room. `options`: `metadata`, `presence`."""
        joined = Room(self._driver, self, room)
        await joined.call("join", peerId=peer_id, **options)
        return joined

    async def close(self) -> None:
        """Leave all rooms."""
        await self._driver.call("close", client=self.name)

    async def reconnect(self) -> None:
        """Continue on another connection."""
        await self._driver.call("reconnect", client=self.name)

    async def until(self, event: str) -> Heard:
        """Wait for an event of the connection, past others."""
        while (heard := await self._driver.events.get(self.name, None)).event != event:
            pass
        return heard


class Room:
    """A room that a client is in."""

    def __init__(self, driver: Driver, client: Client, name: str) -> None:
        self._driver, self._client, self.name = driver, client, name

    async def call(self, command: str, **arguments: Any) -> Any:
        """Carry out a command for this room. Raises `Refused`."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self._driver.call(command, client=self._client.name, room=self.name, **given)

    async def send(self, kind: str, to: str, value: Any, negotiation: int | None = None) -> str:
        """Send an `offer`, `answer`, `candidate` or `signal`; return the status."""
        status: str = (await self.call(kind, to=to, value=value, negotiation=negotiation))["status"]
        return status

    async def view(self) -> Any:
        """How the room looks now."""
        return await self.call("room")

    async def hear(self, *events: str) -> list[Any]:
        """The details of the next events, which have these names."""
        heard = [await self._driver.events.get(self._client.name, self.name) for _ in events]
        assert [one.event for one in heard] == list(events), heard
        return [one.detail for one in heard]

    async def data(self, count: int, passing: Sequence[str] = ()) -> list[Any]:
        """The data of the next so many signals; events of these names between them are passed over."""
        found: list[Any] = []
        while len(found) < count:
            heard = await self._driver.events.get(self._client.name, self.name)
            if heard.event in passing:
                continue
            assert heard.event == "signal", heard
            found.append(heard.detail["data"])
        return found
