"""A member that comes back: when its connection breaks, or its node says that it will stop, it goes on at another."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from bench.chaos.line import Line
from bench.chaos.member import GOODBYE_PATIENCE, JOIN, Member, now
from bench.chaos.record import Link, Stay
from bench.chaos.session import Session, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

PATIENCE = 5.0
"""Seconds that one attempt may take."""

PAUSE, MAX_PAUSE = 0.3, 2.0
"""Seconds before the first attempt and before a later one, at most; at least half of that."""

GRACE = 5.0
"""Seconds beyond the window in which it still tries."""

REPLACED = "closed with 4501"
RESUMED_FALSE = "resumed is false"


class Places(Protocol):
    """The nodes, as a member sees them."""

    rng: Random
    window: float

    def place(self) -> tuple[int, str]:
        """A node that lives, and its URL."""

    def is_away(self, node: int) -> bool:
        """Whether a node is stopping or killed."""


class Returning(Member):
    """A member of a session; `newcomer` is called with the stay of one that was not let back but in."""

    def __init__(
        self, stay: Stay, ended: Callable[[Member], None], places: Places, newcomer: Callable[[Stay], None]
    ) -> None:
        super().__init__(stay, ended)
        self._places = places
        self._newcomer = newcomer
        self._line: Line | None = None
        self._lines: list[Line] = []
        self._session = Session()
        self._since = 0.0
        self._rivals = 1
        self._turned_away_with = ""  # of two rivals the second may come too late, when the first has used up the token
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """See `Member`."""
        return self.stay.present and self._line is not None and self._line.open

    @property
    def returning(self) -> bool:
        """Whether it is on its way back."""
        return self._task is not None and not self._task.done()

    # --------------------------------------------------------------------------------------------------- what it does

    def fade(self) -> None:
        """Lose what is said from now on, until it comes back."""
        if self._line is not None:
            self._line.mute = True

    def cut(self, rivals: int = 1) -> None:
        """Lose the connection without a word, and come back with so many at once."""
        if self._line is not None:
            self._rivals = rivals
            self._line.cut()

    def switch(self, rivals: int = 1) -> None:
        """Come back before the server can have noticed that the connection is of no use any more."""
        if self._line is not None and not self.returning:
            self._line.deaf, self._line.link.expected, self._line = True, True, None
            self._rivals = rivals
            self._come_back(0.0)

    def vanish(self) -> None:
        """Lose the connection and never come back."""
        self.asked_to_end = self.stay.silent = True
        self.stay.ended_at = self.stay.ended_at or now()
        self._stop()
        for line in list(self._lines):
            line.cut()
        self._finish()

    async def leave(self, patience: float) -> None:
        """See `Member`; who has no connection cannot ask, and stays away."""
        await (super().leave(patience) if self.open else self.close())

    async def close(self) -> None:
        """See `Member`."""
        self.asked_to_end = True
        self.stay.ended_at = self.stay.ended_at or now()
        self._stop()
        for line in list(self._lines):
            await line.bid_farewell(GOODBYE_PATIENCE)
        self._finish()

    # ------------------------------------------------------------------------------------------------- its connections

    async def _dial(self, url: str, patience: float) -> None:
        line = self._new_line(self.stay.node)
        await line.dial(self.stay.role, url, patience)
        if self.stay.joined_at is None and line.link.refused:
            self._fail(line.link.refused)

    def _new_line(self, node: int) -> Line:
        link = Link(node, now(), since=self._since)
        line = Line(self, link, f"{JOIN}-{len(self.stay.links)}")
        self.stay.links.append(link)
        self._lines.append(line)
        return line

    def greets(self, line: Line) -> None:
        """Ask to join, or to come back."""
        line.link.received = self._session.received
        back = self._session.credentials()
        if self.stay.role == "user":
            line.say({"type": "connect", "payload": {"user_id": self.stay.member} | back, "id": line.name})
            if not back:
                line.say({"type": "join-room", "room": self.stay.room, "payload": {}, "id": JOIN})
        else:
            payload = {"peer_id": self.stay.member, "presence": True} | back
            line.say({"type": "join", "room": self.stay.room, "payload": payload, "id": line.name})

    def over(self, line: Line) -> None:
        """Note the end of a connection, and come back if it was the one in use."""
        self._lines = [one for one in self._lines if one is not line and one.link.ended_at is None]
        in_use = line is self._line
        replaced = self.returning and line.link.closed.startswith(REPLACED)
        line.link.expected |= not in_use or replaced or self.asked_to_end or self._places.is_away(line.link.node)
        if in_use:
            self._line = None
        if self.stay.joined_at is None:
            self._fail(line.link.closed)
        elif in_use and self.stay.ended_at is None:
            self._come_back(self._places.rng.uniform(PAUSE / 2, PAUSE))

    # ----------------------------------------------------------------------------------------------------- coming back

    def _come_back(self, delay: float) -> None:
        self._since = now()
        self._hurry.set()
        if not self.returning:
            self._hurry = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._return(delay))

    def _warned(self, after_ms: int) -> None:
        if not self.returning and not self.asked_to_end:
            self._come_back(after_ms / 1000)

    async def _return(self, delay: float) -> None:
        """Try until it is back; what breaks meanwhile makes it hurry."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._hurry.wait()
        before, pause = self._line, PAUSE
        while self.stay.ended_at is None:
            await self._attempt()
            if self._line is not None and self._line is not before and self._line.open:
                return
            if now() - self._since > self._places.window + GRACE:
                self._give_up(f"not within {now() - self._since:.1f} s")
            pause = min(2 * pause, MAX_PAUSE)
            await asyncio.sleep(self._places.rng.uniform(pause / 2, pause))

    async def _attempt(self) -> None:
        self._turned_away_with = ""
        rivals, self._rivals = self._rivals, 1
        places = [self._places.place() for _ in range(rivals)]
        lines = [self._new_line(node) for node, _ in places]
        role = self.stay.role
        await asyncio.gather(*(line.dial(role, url, PATIENCE) for line, (_, url) in zip(lines, places, strict=True)))
        back = [line for line in lines if line.link.resumed]
        if not back and self._turned_away_with:
            self._give_up(self._turned_away_with)
        if len(back) > 1:  # the server closes the one that came first
            gone = [asyncio.ensure_future(line.gone.wait()) for line in back]
            await asyncio.wait(gone, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            for task in gone:
                task.cancel()
        for line in back:
            if line.open and self.stay.ended_at is None:
                self._go_on(line)

    def _go_on(self, line: Line) -> None:
        """Use another connection from now on, and say again on it what was not answered."""
        if self._line is not None:
            self._line.link.expected = True
        self._line = line
        self._session.token = line.token  # a rival's may have come later
        self.stay.node = line.link.node
        for message in self._session.unanswered():
            self.stay.sent_again += 1
            line.say(message)

    def _give_up(self, why: str) -> None:
        if self.stay.ended_at is not None:
            return
        self.stay.gave_up = why
        self.stay.ended_at = min(now(), self._since + self._places.window)
        for line in list(self._lines):
            line.cut()
        self._finish()

    def _stop(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _finish(self) -> None:
        if not self._gone.is_set():
            self._gone.set()
            self._fail("cut")
            self._ended(self)

    # ---------------------------------------------------------------------------------------------------- what it hears

    def reads(self, line: Line, message: dict[str, Any]) -> None:
        """Take a message, unless another connection has brought it already."""
        name = message.get("id")
        if name == line.name:
            self._answered(line, message)
        elif self._session.advances(line.link, message):
            if message["type"] == "reconnect":
                self._warned(message["payload"]["after_ms"])
            elif name is None or not name.startswith(f"{JOIN}-"):  # the answer that a rival had got
                self._read(message)

    def _answered(self, line: Line, message: dict[str, Any]) -> None:
        """The reply to a join: the first, or one to come back."""
        first, payload = line.link is self.stay.links[0], message["payload"]
        if message["type"] == "error":
            line.link.refused = payload["code"]
            self._turned_away(first, payload)
            line.cut()
        elif not first and not payload.get("resumed"):
            self._begin_anew(line, payload)
        else:
            self._session.advances(line.link, message)
            line.token = payload.get("resume", "")
            self._session.token = line.token
            line.link.entered_at = now()
            self._welcome(line, payload, first=first)
        line.decide()

    def _turned_away(self, first: bool, payload: dict[str, Any]) -> None:
        if first:
            self._refuse(JOIN, payload)
        elif not payload["retryable"]:
            self._turned_away_with = payload["code"]

    def _welcome(self, line: Line, payload: dict[str, Any], *, first: bool) -> None:
        link = line.link
        link.order = payload.get("order", 0)
        if first:
            self._line = line
            if self.stay.role != "user":
                self._enter(payload)
            return
        link.resumed, link.complete = True, payload["complete"]
        if not link.complete:  # nor need it have been told of those whose messages came before this
            since = link.dialed_at
            arrived = self.stay.arrived
            arrived[:] = [replace(one, known=True) if one.at > since else one for one in arrived]
        if self.stay.role != "user":
            compare(self.stay, link, {peer["peer_id"]: peer["order"] for peer in payload["peers"]})
            self.stay.away = {peer["peer_id"] for peer in payload["peers"] if peer.get("away")}

    def _begin_anew(self, line: Line, payload: dict[str, Any]) -> None:
        """Note what it is now, a newcomer, and go: it enters again under a name of its own."""
        if self.stay.role != "user":
            entered = {peer["peer_id"]: peer["order"] for peer in payload["peers"]}
            at = now()
            stay = Stay(self.stay.member, self.stay.room, line.link.node, "mover", at, at, at, first_roster=entered)
            self._newcomer(stay)
        line.deaf = True  # what still comes is for the newcomer
        line.hang_up()
        self._turned_away_with = RESUMED_FALSE

    def _send(self, kind: str, payload: dict[str, Any], name: str) -> None:
        message = {"type": kind, "room": self.stay.room, "payload": payload, "id": name}
        self._session.asks(message)
        if self._line is not None:
            self._line.say(message)

    def _read(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "room-joined" if self.stay.joined_at is not None:
                self._learn_all(message["payload"])
                return
            case "signal" | "message" if self._session.is_copy(message):
                self.stay.dropped += 1
                return
            case "ack" | "error" if "id" in message:
                self._session.is_answered(message["id"])
        super()._read(message)

    def _learn_all(self, payload: dict[str, Any]) -> None:
        """Go by the roster that a user is told when it missed something."""
        compare(self.stay, Link(0, 0.0, complete=False), {peer["peer_id"]: peer["order"] for peer in payload["peers"]})
        self._users = {user["user_id"] for user in payload["users"]}

    def _arrive(self, data: dict[str, Any], sender: str, known: bool) -> None:
        """See `Member`; a user that missed something cannot know who came meanwhile."""
        super()._arrive(data, sender, known or (self.stay.role == "user" and bool(self.stay.misses)))
