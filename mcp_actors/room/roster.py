"""Who is in a room: its peers, and its users with their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from msgspec import structs

from mcp_actors.protocol.events import Kind, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId


class Roster:
    """The members of one room, in the order they joined; adding or removing one twice changes nothing."""

    __slots__ = ("_members", "_peers", "_users", "peer")

    peer: Callable[[PeerId], Member | None]
    """The peer with an id."""

    def __init__(self) -> None:
        self._members: dict[Incarnation, Member] = {}
        self._peers: dict[PeerId, Member] = {}
        self._users: dict[UserId, int] = {}
        self.peer = self._peers.get

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, incarnation: Incarnation) -> bool:
        return incarnation in self._members

    def add(self, member: Member) -> None:
        """Take a member in."""
        if member.incarnation in self._members:
            return
        self._members[member.incarnation] = member
        if member.kind is Kind.PEER:
            self._peers[cast("PeerId", member.id)] = member
        else:
            user = cast("UserId", member.id)
            self._users[user] = self._users.get(user, 0) + 1

    def remove(self, incarnation: Incarnation) -> Member | None:
        """Let a member go and return it; None if it is not here. Only this incarnation goes, never a later one."""
        member = self._members.pop(incarnation, None)
        if member is None:
            return None
        if member.kind is Kind.PEER:
            peer = cast("PeerId", member.id)
            known = self._peers.get(peer)
            if known is not None and known.incarnation == incarnation:
                del self._peers[peer]
        else:
            user = cast("UserId", member.id)
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
        return member

    def mark(self, incarnation: Incarnation, *, away: bool) -> Member | None:
        """Note that a member is away or back, and return it; None if that changes nothing."""
        member = self._members.get(incarnation)
        if member is None or member.away is away:
            return None
        member = self._members[incarnation] = structs.replace(member, away=away)
        if member.kind is Kind.PEER:
            self._peers[cast("PeerId", member.id)] = member
        return member

    def move(self, incarnation: Incarnation, node: NodeId, moves: int) -> Member | None:
        """Note that a member is at another node now, and return it; None if it is not here."""
        member = self._members.get(incarnation)
        if member is None:
            return None
        member = self._members[incarnation] = structs.replace(member, node=node, moves=moves)
        if member.kind is Kind.PEER:
            self._peers[cast("PeerId", member.id)] = member
        return member

    def member(self, incarnation: Incarnation) -> Member | None:
        """The member with this incarnation."""
        return self._members.get(incarnation)

    def kind(self, incarnation: Incarnation) -> Kind | None:
        """In which roster an incarnation is."""
        member = self._members.get(incarnation)
        return None if member is None else member.kind

    def peers(self) -> Iterable[Member]:
        """Every peer, once, in join order."""
        return self._peers.values()

    def connections_of(self, user_id: UserId) -> int:
        """How many connections of a user are here."""
        return self._users.get(user_id, 0)

    def users(self) -> Iterable[UserId]:
        """Every user, once, in the order of their first connection."""
        return self._users

    def members(self) -> Iterable[Member]:
        """Every connection, peers and users, in join order."""
        return self._members.values()
