"""Joins rooms over one connection, and joins them again on the next."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from mcp_actors.client.backoff import Backoff
from mcp_actors.client.connection import Connection
from mcp_actors.client.errors import LOST_CODES, SignalingError
from mcp_actors.client.room import Room
from mcp_actors.client.token_source import TokenSource
from mcp_actors.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.client.connection import State
    from mcp_actors.client.dialing import Address
    from mcp_actors.client.events import Json
    from mcp_actors.client.link import Link
    from mcp_actors.client.token_source import Token

ID_TAKEN_TIMEOUT = 70.0
"""Seconds: the server notices the end of a lost connection, and keeps its id for whoever resumes."""

FIRST_DELAY, MAX_DELAY = 0.25, 5.0
"""Seconds between attempts to join a room."""

CONNECT_TIMEOUT = 30.0
MAX_EVENTS = 10_000

RoomT = TypeVar("RoomT", bound=Room)


class Client(ABC, Generic[RoomT]):
    """A connection to an endpoint of the server, and the rooms joined on it: use it with `async with`.

    When its connection is lost, it connects again, at any process of the server, and continues its session: missed
    messages come first, unanswered requests are sent again, and the others notice nothing. If the session is over, the
    client joins its rooms again, and each room has an event `Rejoined`.
    """

    def __init__(
        self,
        address: Address,
        token: Token | None = None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_events: int = MAX_EVENTS,
        on_state: Callable[[State], object] = lambda _: None,
        first_room: str | None = None,
    ) -> None:
        self._connection = Connection(address, TokenSource(token), self, on_state)
        self._has_token = token is not None
        self._timeout, self._max_events = connect_timeout, max_events
        self._first_room = first_room
        self._rooms: dict[str, RoomT] = {}
        self._left: list[RoomT] = []
        """Rooms left while there was no connection."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._claims: set[tuple[str, object]] = set()
        """Rooms and ids of this client: the server may still count a lost connection under them."""

    async def __aenter__(self) -> Self:
        """Connect. Raises SignalingError if that is not possible, after `connect_timeout` seconds at the latest."""
        self._connection.start()
        try:
            await self._connection.ready(self._timeout)
        except BaseException:
            await self._connection.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def state(self) -> State:
        """Whether there is a connection."""
        return self._connection.state

    @property
    def rooms(self) -> dict[str, RoomT]:
        """The rooms joined, by their names."""
        return {name: room for name, room in self._rooms.items() if room.joined}

    @property
    def room(self) -> str | None:
        """One that the client is in, or about to join; None if that is not known."""
        return next(iter(self._rooms), self._first_room)

    async def close(self) -> None:
        """Leave all rooms and close the connection, for good."""
        await self._connection.close()
        await asyncio.gather(*self._leaving)

    def reconnect(self) -> None:
        """Continue on another connection now, as after a change of networks, which systems notice late."""
        self._connection.reconnect()

    async def authenticate(self) -> None:
        """Send a new token now, not only before the old one expires. Raises SignalingError."""
        if link := self._connection.link:
            await self._connection.authentication.authenticate(link)

    async def leave(self, room: Room) -> None:
        """Leave a room. If there is no connection, the server is told on the next."""
        left = self._rooms.get(room.name)
        if left is room:
            left.end()
            await self._tell_of_leaving(left)

    def forget(self, room: Room) -> None:
        """This client is not in the room any more."""
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]

    def receive(self, message: Json) -> None:
        """Handle a message that answers no request."""
        room = self._rooms.get(message.get("room", ""))
        if room is None or not room.joined:
            return
        if message.get("type") == "error":  # an answer to no request: the token allows this room no more
            room.end(SignalingError.from_payload(message["payload"]))
        else:
            room.receive(message)

    def end(self, error: SignalingError | None) -> None:
        """The connection is closed for good."""
        for room in list(self._rooms.values()):
            room.end(error)

    async def restore(self, link: Link) -> None:
        """Continue the session on a new link, or begin another."""
        rooms = [room for room in self._rooms.values() if room.joined]
        left = list(self._left)
        self._claims |= {_claim(room) for room in rooms}
        if rooms or left:
            await self.resume(link, rooms or left[:1])  # a room can be left only where the session goes on
        else:
            link.restart_session()
            await self.begin(link)
        for room in left if link.resumed or not rooms else ():
            await self._ask_to_leave(link, room)
        self._left = [room for room in self._left if room not in left]

    async def begin(self, link: Link) -> None:
        """Prepare a new link for joining rooms."""

    @abstractmethod
    async def resume(self, link: Link, rooms: list[RoomT]) -> None:
        """Resume the session and its rooms, or join them again."""

    async def _join(self, room: RoomT) -> RoomT:
        if room.name in self._rooms:
            raise SignalingError(
                ErrorCode.ALREADY_IN_ROOM, f"This client is in {room.name!r} already, or is joining it."
            )
        self._rooms[room.name] = room
        try:
            await self._enter(room)
        except SignalingError:
            room.end()
            raise
        except asyncio.CancelledError:
            room.end()
            self._post_leave(room)
            raise
        return room

    async def _enter(self, room: RoomT) -> None:
        deadline = _now() + ID_TAKEN_TIMEOUT
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while True:
            link = await self._connection.ready(self._timeout)
            try:
                await self._connection.ask(link, room.JOIN, room.name, room.payload, room.welcome)
            except SignalingError as error:
                if not self._may_join_later(error, room, link) or _now() > deadline:
                    raise
                if error.code == ErrorCode.ALREADY_IN_ROOM and link.is_open:
                    await self._tell_of_leaving(room)
            else:
                self._claims.discard(_claim(room))
                return
            await asyncio.sleep(backoff.next(_now(), FIRST_DELAY))

    def _may_join_later(self, error: SignalingError, room: RoomT, link: Link) -> bool:
        """Whether to join again: the connection is lost or to be replaced, or the server has not noticed a loss."""
        if error.code in LOST_CODES:
            self._claims.add(_claim(room))  # it may have been carried out
            return True
        if error.code == ErrorCode.PEER_ID_TAKEN:
            return _claim(room) in self._claims
        # Left while there was no connection, or joined before it was lost; the client knows of no such room.
        return error.code == ErrorCode.ALREADY_IN_ROOM or (
            error.code == ErrorCode.UNAVAILABLE and link.asked_to_move.done()
        )

    async def _rejoin(
        self, link: Link, room: RoomT, kind: str, payload: Callable[[], Json], use: Callable[[Link, Json], None]
    ) -> None:
        """Send a request on a new link until it is answered; a room that cannot be joined again ends."""
        deadline = _now() + ID_TAKEN_TIMEOUT
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while True:
            try:
                await self._connection.ask(link, kind, room.name, payload(), use)
            except SignalingError as error:
                if not link.is_open:
                    raise
                if not error.retryable or (error.code == ErrorCode.PEER_ID_TAKEN and _now() > deadline):
                    room.end(error)
                    return
            else:
                return
            await asyncio.sleep(backoff.next(_now(), FIRST_DELAY))

    async def _tell_of_leaving(self, room: RoomT) -> None:
        """Tell the server now, or on the next connection."""
        link = self._connection.link
        try:
            if link:
                await self._ask_to_leave(link, room)
        except SignalingError:
            link = None
        if link is None:
            self._left.append(room)

    async def _ask_to_leave(self, link: Link, room: RoomT) -> None:
        """Leave a room, which the server may not know. Raises SignalingError if the link is lost."""
        try:
            await self._connection.ask(link, room.LEAVE, room.name, {})
        except SignalingError as error:
            if error.code in LOST_CODES:
                raise

    def _post_leave(self, room: RoomT) -> None:
        task = asyncio.create_task(self._tell_of_leaving(room))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _claim(room: Room) -> tuple[str, object]:
    return room.name, room.payload.get("peer_id")


def _now() -> float:
    return asyncio.get_running_loop().time()
