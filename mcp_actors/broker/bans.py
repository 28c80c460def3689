"""The bans of the rooms of one process, where no Redis keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Ban, Kind, Member
    from mcp_actors.protocol.identifiers import RoomId

Identity = tuple["Kind", str]


class _Entry(NamedTuple):
    """A ban until a time. `owner`: it is for whoever is verified with the id, too."""

    ban: Ban
    until: float
    owner: bool
    addresses: frozenset[str]

    def bars(self, member: Member) -> bool:
        """Whether a member may not join."""
        if member.address and member.address in self.addresses:
            return True
        return member.id == self.ban.id and (self.owner if member.verified else member.kind is self.ban.kind)


class Bans:
    """At most `per_room` bans of each room, and `total` of all. Times are seconds of any one clock."""

    def __init__(self, per_room: int, total: int) -> None:
        self._per_room = per_room
        self._total = total
        self._count = 0
        self._rooms: dict[RoomId, dict[Identity, _Entry]] = {}

    def __len__(self) -> int:
        return self._count

    def has_place(self, room: RoomId, identity: Identity, now: float) -> bool:
        """Whether an identity can be banned from a room. Bans that have ended make room for others."""
        self._forget_ended(room, now)
        if self._count >= self._total:
            for name in list(self._rooms):
                self._forget_ended(name, now)
        bans = self._rooms.get(room, {})
        return identity in bans or (len(bans) < self._per_room and self._count < self._total)

    def add(self, room: RoomId, ban: Ban, removed: list[Member], now: float) -> None:
        """Ban an identity, and the addresses of members that were removed with it; the caller checks `has_place`."""
        addresses = frozenset(one.address for one in removed if one.address)
        owner = not removed or any(one.verified for one in removed)
        entry = _Entry(structs.replace(ban, address=bool(addresses)), now + ban.expires_in, owner, addresses)
        self.lift(room, (ban.kind, ban.id), now)
        self._rooms.setdefault(room, {})[ban.kind, ban.id] = entry
        self._count += 1

    def lift(self, room: RoomId, identity: Identity, now: float) -> bool:
        """Lift a ban; return False if there is none."""
        self._forget_ended(room, now)
        found = self._drop(room, [identity] if identity in self._rooms.get(room, {}) else [])
        return found > 0

    def of(self, room: RoomId, now: float) -> tuple[Ban, ...]:
        """The bans of a room, those that end first before others."""
        self._forget_ended(room, now)
        entries = sorted(self._rooms.get(room, {}).values(), key=lambda entry: entry.until)
        return tuple(structs.replace(entry.ban, expires_in=entry.until - now) for entry in entries)

    def find(self, room: RoomId, member: Member, now: float) -> Ban | None:
        """The ban that keeps a member out the longest; None if it may join."""
        if room not in self._rooms:
            return None
        self._forget_ended(room, now)
        barring = [entry for entry in self._rooms.get(room, {}).values() if entry.bars(member)]
        if not barring:
            return None
        last = max(barring, key=lambda entry: entry.until)
        return structs.replace(last.ban, expires_in=last.until - now)

    def _forget_ended(self, room: RoomId, now: float) -> None:
        self._drop(room, [identity for identity, entry in self._rooms.get(room, {}).items() if entry.until <= now])

    def _drop(self, room: RoomId, identities: list[Identity]) -> int:
        for identity in identities:
            del self._rooms[room][identity]
        if identities and not self._rooms[room]:
            del self._rooms[room]
        self._count -= len(identities)
        return len(identities)
