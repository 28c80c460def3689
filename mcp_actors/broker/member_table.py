"""The members of one room, with the indexes that brokers need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import Kind

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId


class MemberTable:
    """Members by incarnation, peers by id, and the number of members per node."""

    __slots__ = ("_peers", "members", "nodes")

    def __init__(self) -> None:
        self.members: dict[Incarnation, Member] = {}
        self.nodes: dict[NodeId, int] = {}
        self._peers: dict[PeerId | UserId, Incarnation] = {}

    def put(self, member: Member) -> None:
        """Add a member, or replace it by its new version."""
        self.remove(member.incarnation)
        self.members[member.incarnation] = member
        self.nodes[member.node] = self.nodes.get(member.node, 0) + 1
        if member.kind is Kind.PEER:
            self._peers[member.id] = member.incarnation

    def remove(self, incarnation: Incarnation) -> Member | None:
        """Remove a member, if it is there, and return it."""
        member = self.members.pop(incarnation, None)
        if member is None:
            return None
        if self._peers.get(member.id) == incarnation:
            del self._peers[member.id]
        self.nodes[member.node] -= 1
        if not self.nodes[member.node]:
            del self.nodes[member.node]
        return member

    def node_of(self, incarnation: Incarnation) -> NodeId | None:
        """The node of a member, or None if it is not there."""
        member = self.members.get(incarnation)
        return None if member is None else member.node

    def rivals(self, member: Member) -> list[Member]:
        """The members that cannot be in the room with this one.

        They are the peer with its id, or the connections that claim its user id while it owns that id, or the reverse.
        """
        if member.kind is Kind.PEER:
            incarnation = self._peers.get(member.id)
            return [] if incarnation is None else [self.members[incarnation]]
        return [one for one in self._connections_of(member.id) if one.verified is not member.verified]

    def like(self, member: Member) -> Member | None:
        """Another connection of the same user."""
        alike = () if member.kind is Kind.PEER else self._connections_of(member.id)
        return next((one for one in alike if one.verified is member.verified), None)

    def _connections_of(self, user: PeerId | UserId) -> list[Member]:
        return [one for one in self.members.values() if one.kind is Kind.USER and one.id == user]

    def update(self, kind: Kind, member_id: PeerId | UserId, metadata: dict[str, Any], version: int) -> bool:
        """Set the metadata of a peer or of all connections of a user; return False if that changes nothing."""
        if kind is Kind.PEER:
            peer = self._peers.get(member_id)
            found = [] if peer is None else [self.members[peer]]
        else:
            found = [one for one in self.members.values() if one.kind is kind and one.id == member_id]
        for member in found:
            self.put(structs.replace(member, metadata=metadata, updated=version))
        return any(member.metadata != metadata for member in found)

    def refusal(self, member: Member, capacity: int) -> ErrorCode | None:
        """Why a member cannot join, apart from a lock."""
        rivals = self.rivals(member)
        if rivals:
            return None if all(one.yields_to(member) for one in rivals) else ErrorCode.PEER_ID_TAKEN
        peers = len(self._peers)
        present = peers if member.kind is Kind.PEER else len(self.members) - peers
        return ErrorCode.ROOM_FULL if present >= capacity else None

    def clear(self) -> None:
        """Remove all members."""
        self.members.clear()
        self.nodes.clear()
        self._peers.clear()
