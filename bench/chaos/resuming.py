"""A member that resumes its session on any node when its connection breaks or its node is about to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from bench.chaos.connection import Connection
from bench.chaos.guest import Guest
from bench.chaos.member import CLOSE_FRAME_TIMEOUT, JOIN, Member, now
from bench.chaos.reconnect import ReconnectLoop
from bench.chaos.record import Link, Stay, roster_in
from bench.chaos.session import Session, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

TIMEOUT = 5.0
"""Seconds that one attempt may take."""

GRACE = 5.0
"""Seconds beyond the window during which it still tries."""

REPLACED = "closed with 4501"
RESUMED_FALSE = "resumed is false"


class Nodes(Protocol):
    """The nodes, as a member sees them."""

    rng: Random
    window: float

    def choose(self) -> tuple[int, str]:
        """Return a running node and its URL."""

    def place(self, node: int) -> tuple[int, str]:
        """Return a node and its URL."""

    def is_away(self, node: int) -> bool:
        """Whether a node is stopping or killed."""


class ResumingMember(Member):
    """A member with a session.

    If the server lets it in as a newcomer instead of resuming its session, `newcomer` is called with that stay.
    """

    def __init__(
        self,
        stay: Stay,
        ended: Callable[[Member], None],
        nodes: Nodes,
        newcomer: Callable[[Stay], None],
        access: str = "",
    ) -> None:
        super().__init__(stay, ended, access)
        self._nodes = nodes
        self.newcomer = newcomer
        self._connection: Connection | None = None
        self._connections: list[Connection] = []
        self.session = Session()
        self._guests: dict[str, Guest] = {}
        self._attempts = 1
        self._pause: float | None = None
        self.next_node: int | None = None
        """Where its next attempt to resume is made, unless it may be made anywhere."""
        self._final_error = ""  # the final error code; of concurrent attempts, the second may find the token used up
        self._reconnect = ReconnectLoop(nodes.rng, self._try_resume)

    @property
    def open(self) -> bool:
        """See `Member`."""
        return self.stay.present and self._connection is not None and self._connection.open

    @property
    def returning(self) -> bool:
        """Whether it is reconnecting."""
        return self._reconnect.running

    def visit(self, room: str) -> Guest:
        """Enter another room in the same session, under another id."""
        guest = self._guests[room] = Guest(Stay(f"{self.stay.member}g", room, self.stay.node, asked_at=now()), self)
        for connection in self._connections:
            guest.dialed(connection)
        self.newcomer(guest.stay)
        if self._connection is not None:
            guest.enter(self._connection)
        return guest

    @property
    def guests(self) -> list[Guest]:
        """This member in its other rooms."""
        return list(self._guests.values())

    def mute(self) -> None:
        """Lose everything sent from now on, until it resumes."""
        if self._connection is not None:
            self._connection.muted = True

    def cut(self, attempts: int = 1) -> None:
        """Abort the connection, and resume with some concurrent attempts."""
        if self._connection is not None:
            self._attempts = attempts
            self._connection.cut()

    def switch(self, attempts: int = 1) -> None:
        """Abandon the connection without closing it, and resume before the server can notice."""
        if self._connection is not None and not self.returning:
            self._connection.ignored, self._connection.link.expected, self._connection = True, True, None
            self._attempts = attempts
            self._reconnect.start(0.0)

    def stay_away(self, seconds: float) -> None:
        """Abort the connection, and resume after some seconds."""
        if self._connection is not None:
            self._pause = seconds
            self._connection.cut()

    def vanish(self) -> None:
        """Abort the connection and never come back."""
        self.asked_to_end = self.stay.silent = True
        self.stay.ended_at = self.stay.ended_at or now()
        self._reconnect.stop()
        for connection in list(self._connections):
            connection.cut()
        self._finish()

    async def leave(self, max_wait: float) -> None:
        """See `Member`. Without a connection it cannot ask, so it only stays away."""
        await (super().leave(max_wait) if self.open else self.close())

    async def close(self) -> None:
        """See `Member`. An attempt to resume that is under way ends first."""
        self.asked_to_end = True
        self.stay.ended_at = self.stay.ended_at or now()
        await self._reconnect.end()
        for connection in list(self._connections):
            await connection.close(CLOSE_FRAME_TIMEOUT)
        self._finish()

    async def try_to_return(self, max_wait: float) -> None:
        """Try to resume, although it was removed, until the answer is final or a node that let it in removes it."""
        await self._reconnect.end()
        if self._connection is not None:
            self._connection.link.expected = True
        end = now() + max_wait
        while not self._final_error and not self.stay.links[-1].resumed and now() < end:
            node, url = self._nodes.choose()
            connection = self._new_connection(node)
            await connection.dial(self.stay.role, url, TIMEOUT, self.access)
            if connection.link.resumed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(connection.gone.wait(), max(0.0, end - now()))

    async def _dial(self, url: str, max_wait: float) -> None:
        connection = self._new_connection(self.stay.node)
        await connection.dial(self.stay.role, url, max_wait, self.access)
        if self.stay.joined_at is None and connection.link.refused:
            self._fail(connection.link.refused)

    def _new_connection(self, node: int) -> Connection:
        link = Link(node, now(), since=self._reconnect.since)
        connection = Connection(self, link, f"{JOIN}-{len(self.stay.links)}")
        self.stay.links.append(link)
        self._connections.append(connection)
        for guest in self.guests:
            guest.dialed(connection)
        return connection

    def on_connected(self, connection: Connection) -> None:
        """Send the join, with the resume token if there is one."""
        connection.link.received = self.session.received
        back = self.session.credentials()
        if self.stay.role == "user":
            connection.send({"type": "connect", "payload": {"user_id": self.stay.member} | back, "id": connection.name})
            if not back:
                connection.send({"type": "join-room", "room": self.stay.room, "payload": {}, "id": JOIN})
        else:
            payload = {"peer_id": self.stay.member, "presence": True} | back
            connection.send({"type": "join", "room": self.stay.room, "payload": payload, "id": connection.name})

    def on_closed(self, connection: Connection) -> None:
        """Record the end of a connection, and resume if it was the one in use."""
        self._connections = [one for one in self._connections if one is not connection and one.link.ended_at is None]
        for guest in self.guests:
            guest.closed(connection)
        in_use = connection is self._connection
        replaced = connection.link.closed.startswith(REPLACED) and (self.returning or self._may_arrive_late(connection))
        connection.link.expected |= (
            not in_use or replaced or self.asked_to_end or self._nodes.is_away(connection.link.node)
        )
        if in_use:
            self._connection = None
        if self.stay.joined_at is None:
            self._fail(connection.link.closed)
        elif in_use and self.stay.ended_at is None:
            self._reconnect.start(self._pause)
            self._pause = None

    def _may_arrive_late(self, connection: Connection) -> bool:
        """Whether an attempt that was given up, cut or put off may take the session after another has resumed it."""
        given_up = [one for one in self.stay.links if one.entered_at is None]
        return any(one.since == connection.link.since for one in given_up)

    async def _try_resume(self) -> bool:
        """Make one attempt, or several concurrent ones. Return whether the session has resumed or ended."""
        if self.stay.ended_at is not None:
            return True
        before = self._connection
        await self._connect_again()
        if self._connection is not None and self._connection is not before and self._connection.open:
            return True
        took = now() - self._reconnect.since
        if took > self._nodes.window + GRACE:
            self._give_up(f"not within {took:.1f} s")
        return self.stay.ended_at is not None

    async def _connect_again(self) -> None:
        self._final_error = ""
        attempts, self._attempts = self._attempts, 1
        places = [self._nodes.choose() for _ in range(attempts)]
        if self.next_node is not None:
            places[0], self.next_node = self._nodes.place(self.next_node), None
        connections = [self._new_connection(node) for node, _ in places]
        await asyncio.gather(
            *(
                connection.dial(self.stay.role, url, TIMEOUT, self.access)
                for connection, (_, url) in zip(connections, places, strict=True)
            )
        )
        resumed = [connection for connection in connections if connection.link.resumed]
        if not resumed and self._final_error:
            self._give_up(self._final_error)
        await _until_one_is_left(resumed)
        for connection in resumed:
            if connection.open and self.stay.ended_at is None:
                self._use(connection)

    def _use(self, connection: Connection) -> None:
        """Use another connection from now on, and send unanswered requests again."""
        if self._connection is not None:
            self._connection.link.expected = True
        self._connection = connection
        self.stay.node = connection.link.node
        for message in self.session.unanswered():
            self.stay.sent_again += 1
            connection.send(message)

    def _give_up(self, why: str) -> None:
        if self.stay.ended_at is not None:
            return
        self.stay.gave_up = why
        self.stay.ended_at = min(now(), self._reconnect.since + self._nodes.window)
        for connection in list(self._connections):
            connection.cut()
        self._finish()

    def _finish(self) -> None:
        for guest in self.guests:
            guest.end()
        if not self._gone.is_set():
            self._gone.set()
            self._fail("cut")
            self._ended(self)

    def on_message(self, connection: Connection, message: dict[str, Any]) -> None:
        """Handle a message, unless another connection has brought it already."""
        name = message.get("id")
        if name == connection.name:
            self._answered(connection, message)
        elif self.session.accept(connection.link, message):
            guest = self._guests.get(message.get("room", ""))
            if guest is not None:
                guest.take(connection, message)
            elif message["type"] == "reconnect":
                if not self.returning and not self.asked_to_end:
                    self._reconnect.start(message["payload"]["after_ms"] / 1000)
            elif name is None or not name.startswith(f"{JOIN}-"):  # otherwise it is the reply to a concurrent attempt
                self._read(message)

    def _answered(self, connection: Connection, message: dict[str, Any]) -> None:
        """Handle the reply to a join, the first one or one that resumes."""
        first, payload = connection.link is self.stay.links[0], message["payload"]
        if message["type"] == "error":
            connection.link.refused = payload["code"]
            if first:
                self._refuse(JOIN, payload)
            elif not payload["retryable"] and payload["code"] != "peer-id-taken":  # its old connection may still count
                self._final_error = payload["code"]
            connection.cut()
        elif not first and not payload.get("resumed"):
            self._enter_as_newcomer(connection, payload)
        else:
            is_news = self.session.accept(connection.link, message)
            connection.link.entered_at = now()
            self._accepted(connection, payload, first=first, is_news=is_news)
        connection.mark_answered()

    def _accepted(self, connection: Connection, payload: dict[str, Any], *, first: bool, is_news: bool) -> None:
        """Take over a reply; its roster only if no concurrent attempt has brought it, and what came after it."""
        link = connection.link
        link.order = payload.get("order", 0)
        if first:
            self._connection = connection
            if self.stay.role != "user":
                self._enter(payload)
            return
        for guest in self.guests:
            guest.enter(connection)
        link.resumed, link.complete = True, payload["complete"]
        if not link.complete:  # senders of messages after the gap may be unknown
            since = link.dialed_at
            arrived = self.stay.arrived
            arrived[:] = [replace(one, known=True) if one.at > since else one for one in arrived]
        if self.stay.role != "user" and is_news:
            compare(self.stay, link, roster_in(payload))
            self.stay.away = {peer["peer_id"] for peer in payload["peers"] if peer.get("away")}
            self._learn_metadata(payload)

    def _enter_as_newcomer(self, connection: Connection, payload: dict[str, Any]) -> None:
        """Record the stay as a newcomer, and close; the crowd lets it join again under another id."""
        if self.stay.role != "user":
            entered, at = roster_in(payload), now()
            stay = Stay(
                self.stay.member, self.stay.room, connection.link.node, "mover", at, at, at, first_roster=entered
            )
            self.newcomer(stay)
        connection.link.newcomer = True
        connection.ignored = True  # what still arrives is for the newcomer
        connection.close_now()
        self._final_error = RESUMED_FALSE

    def _send(self, kind: str, payload: dict[str, Any], name: str) -> None:
        self.send_request({"type": kind, "room": self.stay.room, "payload": payload, "id": name})

    def send_request(self, message: dict[str, Any]) -> None:
        """Send a request, again on each new connection until it is answered."""
        self.session.sent(message)
        if self._connection is not None:
            self._connection.send(message)

    def _read(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "room-joined" if self.stay.joined_at is not None:
                payload = message["payload"]  # a user is sent the whole roster after a gap
                compare(self.stay, Link(0, 0.0, complete=False), roster_in(payload))
                self._learn_metadata(payload)
                self._users = {user["user_id"] for user in payload["users"]}
                return
            case "signal" | "message" if self.session.is_copy(message):
                self.stay.dropped += 1
                return
            case "ack" | "error" | "kicked" | "room-locked" | "room-unlocked" if "id" in message:
                self.session.answered(message["id"])
        super()._read(message)

    def _arrive(self, data: dict[str, Any], sender: str, known: bool) -> None:
        """See `Member`. After a gap a user cannot know who joined meanwhile."""
        super()._arrive(data, sender, known or (self.stay.role == "user" and bool(self.stay.misses)))


async def _until_one_is_left(connections: list[Connection]) -> None:
    """Wait until the server has closed all connections of a session but the latest, or does not do so in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            while len(still := [one for one in connections if one.open]) > 1:
                gone = [asyncio.ensure_future(one.gone.wait()) for one in still]
                try:
                    await asyncio.wait(gone, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in gone:
                        task.cancel()
