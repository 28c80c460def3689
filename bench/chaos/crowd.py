"""Who takes part: observers, peers and users who stay and talk, and others who come and go."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.chaos.member import JoinError, Member, now
from bench.chaos.record import Kill, Record, Role, Stay
from bench.chaos.returning import Returning

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from random import Random

    from bench.cluster import Node

JOIN_PATIENCE = 10.0
LEAVE_PATIENCE = 5.0
REJOIN_PATIENCE = 40.0
REJOIN_PAUSE = 0.3
TICK = 0.01
STAYERS: tuple[Role, ...] = ("observer", "peer", "user")
"""Who comes back, under a new id, when the connection is lost."""

SPEAKERS: tuple[Role, ...] = ("peer", "churner")


class Crowd:
    """All members, on nodes that are numbered by their place in `nodes`.

    `window`: seconds in which members whose connection broke come back to where they were; with 0 they do not.
    """

    def __init__(self, record: Record, nodes: Sequence[Node], rooms: int, rng: Random, window: float = 0.0) -> None:
        self.record = record
        self.rooms = [f"room{index}" for index in range(rooms)]
        self.away: set[int] = set()
        """Nodes nobody connects to now."""
        self.leaving = False
        self.rng = rng
        self.window = window
        self._nodes = nodes
        self._members: dict[str, Member] = {}
        """Those who are connected, by id."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)

    @property
    def members(self) -> Iterable[Member]:
        """Those who are in their rooms."""
        return [member for member in self._members.values() if member.open]

    @property
    def rejoining(self) -> bool:
        """Whether some are on their way back."""
        return bool(self._tasks) or any(member.returning for member in self._returning())

    async def gather(self, peers: int, *, users: bool) -> None:
        """Let all enter who stay: an observer per room and node, a user beside it, and the peers spread evenly."""
        places = [(room, node) for room in self.rooms for node in range(len(self._nodes))]
        for room, node in places:
            await self.enter("observer", room, node, f"{room}.o{node}")
        await asyncio.gather(*(self.enter("user", room, node, f"{room}.u{node}") for room, node in places if users))
        await asyncio.gather(*(self.enter("peer", *places[i % len(places)], f"p{i}") for i in range(peers)))

    async def enter(self, role: Role, room: str, node: int, name: str) -> Member:
        """One more member. Raises `JoinError`."""
        stay = Stay(name, room, node, role)
        self.record.stays.append(stay)
        member = (
            Returning(stay, self._ended, self, self.record.stays.append) if self.window else Member(stay, self._ended)
        )
        self._members[name] = member
        try:
            await member.join(self._nodes[node].url, JOIN_PATIENCE)
        except JoinError as error:
            raise JoinError(f"{stay} could not join: {error}") from None
        finally:
            if stay.joined_at is None:
                await member.close()
                self._forget(member)
        return member

    def strike(self, node: int, *, killed: bool) -> None:
        """Note that a node is being killed or frozen: its members need get nothing more, unless they come back."""
        self.away.add(node)
        if self.window:
            return
        there = [stay for stay in self.record.stays if stay.node == node and stay.ended_at is None]
        for stay in there:
            stay.struck_at = now()
            stay.ended_at = now() if killed else None
        if killed:
            peers = {stay.member for stay in there if stay.role != "user" and stay.joined_at is not None}
            self.record.kills.append(Kill(now(), node, peers))

    async def talk(self, rate: float) -> None:
        """Send so many messages per second, from now on; one in twenty is a broadcast of a user."""
        began, sent = now(), 0
        while True:
            for _ in range(int((now() - began) * rate) - sent):
                sent += 1
                self._say()
            await asyncio.sleep(TICK)

    def _say(self) -> None:
        users = [member for member in self.members if member.stay.role == "user"]
        if users and self.rng.random() < 1 / 20:
            self.rng.choice(users).broadcast()
            return
        speakers = [member for member in self.members if member.stay.role in SPEAKERS]
        if speakers:
            self.speak(self.rng.choice(speakers))

    def speak(self, speaker: Member) -> None:
        """Let one send a signal to another of its room."""
        targets = [peer for peer in speaker.stay.roster if peer != speaker.stay.member and _hears(peer)]
        if targets:
            speaker.signal(self.rng.choice(targets))

    async def churn(self) -> None:
        """Come and go, under a new id each time, from now on."""
        while True:
            with suppress(JoinError):
                room, node = self.rng.choice(self.rooms), self._living()
                member = await self.enter("churner", room, node, f"c{next(self._numbers)}")
                await asyncio.sleep(self.rng.uniform(0.1, 1.0))
                await self._go(member)
            await asyncio.sleep(self.rng.uniform(0.05, 0.3))

    async def _go(self, member: Member) -> None:
        if isinstance(member, Returning) and self.rng.random() < 1 / 4:
            member.vanish()
        else:
            await (member.leave(LEAVE_PATIENCE) if self.rng.random() < 1 / 2 else member.close())

    async def move(self, name: str) -> None:
        """Come and go, under one id, from node to node, from now on."""
        room = self.rng.choice(self.rooms)
        while True:
            with suppress(JoinError):
                member = await self.enter("mover", room, self._living(), name)
                await asyncio.sleep(self.rng.uniform(0.1, 0.5))
                await member.leave(LEAVE_PATIENCE)
            await asyncio.sleep(self.rng.uniform(0.0, 0.2))

    async def disperse(self) -> None:
        """Let all leave, half of them by closing the connection."""
        self.leaving = True
        for task in self._tasks:
            task.cancel()
        members = list(self._members.values())
        await asyncio.gather(
            *(member.leave(LEAVE_PATIENCE) if index % 2 else member.close() for index, member in enumerate(members))
        )

    def place(self) -> tuple[int, str]:
        """A node that lives, at random, and its URL."""
        node = self._living()
        return node, self._nodes[node].url

    def is_away(self, node: int) -> bool:
        """Whether nobody connects to a node now."""
        return node in self.away

    def stayers(self) -> list[Returning]:
        """Those who are there for the whole run, connected, and can come back to where they were."""
        connected = [member for member in self._returning() if member.open and not member.returning]
        return [member for member in connected if member.stay.role in STAYERS]

    def _returning(self) -> list[Returning]:
        return [member for member in self._members.values() if isinstance(member, Returning)]

    def _living(self) -> int:
        return self.rng.choice([node for node in range(len(self._nodes)) if node not in self.away])

    def _ended(self, member: Member) -> None:
        self._forget(member)
        stay = member.stay
        if not member.asked_to_end and not self.leaving and stay.role in STAYERS and stay.joined_at is not None:
            self._spawn(self._rejoin(stay))

    def _forget(self, member: Member) -> None:
        if self._members.get(member.stay.member) is member:
            del self._members[member.stay.member]

    async def _rejoin(self, stay: Stay) -> None:
        """Come back as a client does: on another node, under a new id, after a pause."""
        deadline = now() + REJOIN_PATIENCE
        while now() < deadline:
            await asyncio.sleep(self.rng.uniform(REJOIN_PAUSE / 2, REJOIN_PAUSE))
            with suppress(JoinError):
                await self.enter(stay.role, stay.room, self._living(), _again(stay.member))
                return

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _hears(peer: str) -> bool:
    """Whether signals are sent to it: to peers and churners, as their names tell."""
    return peer[0] in "pc"


def _again(name: str) -> str:
    base, _, times = name.partition("-")
    return f"{base}-{int(times or 1) + 1}"
