"""The clients of a run: residents, who stay and send messages, and others, who come and go."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.chaos.member import JoinError, Member, now
from bench.chaos.moderation import moderator_token, remove
from bench.chaos.record import Kill, Record, Role, Stay
from bench.chaos.resuming import ResumingMember

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from random import Random

JOIN_TIMEOUT = 10.0
LEAVE_TIMEOUT = 5.0
REJOIN_TIMEOUT = 40.0
REJOIN_PAUSE = 0.3
TICK = 0.01
VISITS = 1 / 4
"""The share of a speaker's messages that go to a further room, if it is in one."""

UPDATES = 1 / 40
"""The share of a speaker's messages that update its metadata."""

RESIDENTS: tuple[Role, ...] = ("observer", "peer", "user", "moderator")
"""Roles that come back under a new id when their connection is lost."""

SPEAKERS: tuple[Role, ...] = ("peer", "churner")


class Crowd:
    """All clients. A node is identified by the index of its URL.

    `window`: seconds within which a member can resume after its connection broke; with 0, members do not resume.
    `secret`: the nodes' secret, with which moderators sign their access tokens; without it there are no moderators.
    `visits`: peers are in a second room, too, with the same session.
    """

    def __init__(
        self,
        record: Record,
        urls: Sequence[str],
        rooms: int,
        rng: Random,
        *,
        window: float = 0.0,
        secret: str = "",
        visits: bool = False,
    ) -> None:
        self.record = record
        self.rooms = [f"room{index}" for index in range(rooms)]
        self.quiet: list[str] = []
        """Further rooms with one resident, which others enter and leave."""
        self.away: set[int] = set()
        """Nodes that no client connects to now, and that may close connections."""
        self.avoided: set[int] = set()
        """Other nodes that no client connects to now."""
        self.leaving = False
        self.rng = rng
        self.window = window
        self._urls = urls
        self._secret = secret
        self._visits = visits
        self._members: dict[str, Member] = {}
        """Connected members by id."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)

    @property
    def members(self) -> Iterable[Member]:
        """The members that are in their rooms."""
        return [member for member in self._members.values() if member.open]

    @property
    def rejoining(self) -> bool:
        """Whether some members are reconnecting."""
        return bool(self._tasks) or any(member.returning for member in self._returning())

    async def join_all(self, peers: int, *, users: bool) -> None:
        """Let all residents join: an observer per room and node, users there if asked for, moderators, peers."""
        places = [(room, node) for room in self.rooms for node in range(len(self._urls))]
        lonely = [(room, index % len(self._urls)) for index, room in enumerate(self.quiet)]
        for room, node in places + lonely:
            await self._settle_in("observer", room, node, f"{room}.o{node}")
        moderated = self.rooms if self._secret else []
        await asyncio.gather(*(self._settle_in("user", *place, "{}.u{}".format(*place)) for place in places if users))
        await asyncio.gather(*(self._settle_in("moderator", room, self._running(), f"{room}.m") for room in moderated))
        await asyncio.gather(*(self._settle_in("peer", *places[i % len(places)], f"p{i}") for i in range(peers)))

    async def _settle_in(self, role: Role, room: str, node: int, name: str) -> None:
        """Let a resident join, however long a busy machine takes. Raises `JoinError`."""
        deadline = now() + REJOIN_TIMEOUT
        while now() < deadline:
            with suppress(JoinError):
                await self.enter(role, room, node, name)
                return
            await asyncio.sleep(REJOIN_PAUSE)
        raise JoinError(f"{name} could not join {room} at node {node}")

    async def enter(self, role: Role, room: str, node: int, name: str) -> Member:
        """Connect a new member and join. Raises `JoinError`."""
        stay = Stay(name, room, node, role)
        self.record.stays.append(stay)
        access = moderator_token(name, self._secret) if role == "moderator" else ""
        member = (
            ResumingMember(stay, self._ended, self, self.record.stays.append, access)
            if self.window
            else Member(stay, self._ended, access)
        )
        self._members[name] = member
        try:
            await member.join(self._urls[node], JOIN_TIMEOUT)
        except JoinError as error:
            raise JoinError(f"{stay} could not join: {error}") from None
        finally:
            if stay.joined_at is None:
                await member.close()
                self._forget(member)
        if self._visits and role == "peer" and isinstance(member, ResumingMember):
            member.visit(f"{room}.side")
        return member

    def strike(self, node: int, *, killed: bool) -> None:
        """Record that a node is struck: unless they resume, its members need not receive anything from now on."""
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
        """Send `rate` messages per second until cancelled; one in twenty is a broadcast, and some are updates."""
        began, sent = now(), 0
        while True:
            for _ in range(int((now() - began) * rate) - sent):
                sent += 1
                self._send_one()
            await asyncio.sleep(TICK)

    def _send_one(self) -> None:
        users = [member for member in self.members if member.stay.role == "user"]
        if users and self.rng.random() < 1 / 20:
            self.rng.choice(users).broadcast()
            return
        speakers = [member for member in self.members if member.stay.role in SPEAKERS]
        if not speakers:
            return
        speaker = self.rng.choice(speakers)
        if self._visits and isinstance(speaker, ResumingMember) and self.rng.random() < VISITS:
            for guest in speaker.guests:
                self.send_signal(guest)
            return
        if self._secret and self.rng.random() < UPDATES:  # the control has none
            speaker.update()
        else:
            self.send_signal(speaker)

    def send_signal(self, speaker: Member) -> None:
        """Send a signal to a random peer of the sender's room."""
        targets = [peer for peer in speaker.stay.roster if peer != speaker.stay.member and _receives_signals(peer)]
        if targets:
            speaker.signal(self.rng.choice(targets))

    async def churn(self) -> None:
        """Join and leave until cancelled, with a new id each time."""
        while True:
            with suppress(JoinError):
                room, node = self.rng.choice(self.rooms + self.quiet), self._running()
                member = await self.enter("churner", room, node, f"c{next(self._numbers)}")
                await asyncio.sleep(self.rng.uniform(0.1, 1.0))
                await self._go(member)
            await asyncio.sleep(self.rng.uniform(0.05, 0.3))

    async def _go(self, member: Member) -> None:
        how = self.rng.random()
        moderator = self.moderator(member.stay.room)
        if isinstance(member, ResumingMember) and how < 1 / 4:
            member.vanish()
        elif moderator is not None and how < 1 / 2:
            await remove(member, moderator, self.rng)
        else:
            await (member.leave(LEAVE_TIMEOUT) if self.rng.random() < 1 / 2 else member.close())

    def moderator(self, room: str) -> Member | None:
        """Return a moderator of a room that is connected now."""
        return next((one for one in self.members if (one.stay.role, one.stay.room) == ("moderator", room)), None)

    async def move(self, name: str) -> None:
        """Join and leave until cancelled, with the same id but on changing nodes."""
        room = self.rng.choice(self.rooms + self.quiet)
        while True:
            with suppress(JoinError):
                member = await self.enter("mover", room, self._running(), name)
                await asyncio.sleep(self.rng.uniform(0.1, 0.5))
                await member.leave(LEAVE_TIMEOUT)
            await asyncio.sleep(self.rng.uniform(0.0, 0.2))

    async def leave_all(self) -> None:
        """Let all members leave, half of them by closing the connection."""
        self.leaving = True
        for task in self._tasks:
            task.cancel()
        members = list(self._members.values())
        await asyncio.gather(
            *(member.leave(LEAVE_TIMEOUT) if index % 2 else member.close() for index, member in enumerate(members))
        )

    def choose(self) -> tuple[int, str]:
        """Return a random running node and its URL."""
        node = self._running()
        return node, self._urls[node]

    def place(self, node: int) -> tuple[int, str]:
        """See `Nodes`."""
        return node, self._urls[node]

    def is_away(self, node: int) -> bool:
        """Whether a node is stopping, killed or frozen for long."""
        return node in self.away

    def residents(self) -> list[ResumingMember]:
        """The residents that are connected and able to resume."""
        connected = [member for member in self._returning() if member.open and not member.returning]
        return [member for member in connected if member.stay.role in RESIDENTS]

    def _returning(self) -> list[ResumingMember]:
        return [member for member in self._members.values() if isinstance(member, ResumingMember)]

    def _running(self) -> int:
        return self.rng.choice([node for node in range(len(self._urls)) if node not in self.away | self.avoided])

    def _ended(self, member: Member) -> None:
        self._forget(member)
        stay = member.stay
        if not member.asked_to_end and not self.leaving and stay.role in RESIDENTS and stay.joined_at is not None:
            self._spawn(self._rejoin(stay))

    def _forget(self, member: Member) -> None:
        if self._members.get(member.stay.member) is member:
            del self._members[member.stay.member]

    async def _rejoin(self, stay: Stay) -> None:
        """Come back as a client without a session does: under a new id, after a pause, on any node."""
        deadline = now() + REJOIN_TIMEOUT
        while now() < deadline:
            await asyncio.sleep(self.rng.uniform(REJOIN_PAUSE / 2, REJOIN_PAUSE))
            with suppress(JoinError):
                await self.enter(stay.role, stay.room, self._running(), _next_name(stay.member))
                return

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _receives_signals(peer: str) -> bool:
    """Whether a peer receives signals. Peers and churners do; their names begin with p or c."""
    return peer[0] in "pc"


def _next_name(name: str) -> str:
    base, _, times = name.partition("-")
    return f"{base}-{int(times or 1) + 1}"
