"""The members of a room: its peers, and its users with their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from msgspec import structs

from mcp_actors.protocol.codec import sender_stamp
from mcp_actors.protocol.events import Kind, Member
from mcp_actors.room.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId


FORMER_NODES = 4
"""How many earlier nodes of a member are remembered, the latest."""


class Roster:
    """The members of one room on all nodes, in join order. Adding or removing a member twice changes nothing.

    `local` has the members of this node with the stamp of their messages; the stamp is empty while a member leaves.
    `let_go` are the members of this node that were told that they are out, while the others were not told yet.
    `watching` are the local members that want to know of detached peers. `silent`: members are not told of each other.
    `names` are those that members give themselves, None if they have ids only.
    """

    __slots__ = (
        *("_former", "_members", "_metadata", "_peers", "_users", "_verified"),
        *("let_go", "local", "names", "peer", "silent", "watching"),
    )

    peer: Callable[[PeerId], Member | None]
    """The peer with an id."""

    def __init__(self, *, silent: bool = False, named: bool = False) -> None:
        self.silent = silent
        self.names = Names() if named else None
        self.local: dict[Incarnation, bytes] = {}
        self.watching: dict[Incarnation, None] = {}
        self.let_go: set[Incarnation] = set()
        self._members: dict[Incarnation, Member] = {}
        self._former: dict[Incarnation, dict[int, NodeId]] = {}  # of members that moved: their nodes by epoch
        self._peers: dict[PeerId, Member] = {}
        self._users: dict[UserId, int] = {}
        self._metadata: dict[UserId, dict[str, Any]] = {}  # of users that have any
        self._verified: set[UserId] = set()  # users whose connections have access tokens
        self.peer = self._peers.get

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, incarnation: Incarnation) -> bool:
        return incarnation in self._members

    def add(self, member: Member) -> None:
        """Add a member."""
        if member.incarnation in self._members:
            return
        self._members[member.incarnation] = member
        if member.kind is Kind.PEER:
            self._peers[cast("PeerId", member.id)] = member
        else:
            user = cast("UserId", member.id)
            connections = self._users[user] = self._users.get(user, 0) + 1
            if not member.verified:
                self._verified.discard(user)
            elif connections == 1:
                self._verified.add(user)
            if member.metadata:
                self._metadata[user] = member.metadata

    def remove(self, incarnation: Incarnation) -> Member | None:
        """Remove a member and return it; None if it is not here. A later incarnation of the same peer stays."""
        member = self._members.pop(incarnation, None)
        if member is None:
            return None
        self.release(incarnation)
        self.let_go.discard(incarnation)
        if self.names is not None:
            self.names.release(incarnation)
        self._former.pop(incarnation, None)
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
                self._metadata.pop(user, None)
                self._verified.discard(user)
        return member

    def settle(self, member: Member) -> None:
        """Note that a member is local from now on."""
        stamp = sender_stamp(member.id, verified=member.verified) if self.names is None else sender_stamp("")
        self.local[member.incarnation] = stamp

    def rename(self, incarnation: Incarnation, name: str) -> None:
        """Give a member a name, where members have names."""
        assert self.names is not None  # noqa: S101 - as its caller knows
        self.names.take(incarnation, name)
        if self.local.get(incarnation):
            self.local[incarnation] = sender_stamp(name)

    def release(self, incarnation: Incarnation) -> None:
        """Note that a member is not local any more."""
        self.local.pop(incarnation, None)
        self.watching.pop(incarnation, None)

    def clear(self) -> None:
        """Remove all members."""
        for members in (self.local, self.watching, self._members, self._peers, self._users, self._metadata):
            members.clear()
        if self.names is not None:
            self.names.clear()
        self.let_go.clear()
        self._former.clear()
        self._verified.clear()

    def set_presence(self, incarnation: Incarnation, *, detached: bool) -> Member | None:
        """Note that a member is detached or attached, and return it; None if that changes nothing."""
        member = self._members.get(incarnation)
        if member is None or member.detached is detached:
            return None
        return self._replace(structs.replace(member, detached=detached))

    def move(self, incarnation: Incarnation, node: NodeId, epoch: int) -> Member | None:
        """Note that a member is at another node, and return it; None if it is not here."""
        self.let_go.discard(incarnation)
        member = self._members.get(incarnation)
        if member is None:
            return None
        former = self._former.setdefault(incarnation, {})
        former[member.epoch] = member.node
        if len(former) > FORMER_NODES:
            del former[next(iter(former))]
        return self._replace(structs.replace(member, node=node, epoch=epoch))

    def node_at(self, incarnation: Incarnation, epoch: int) -> NodeId | None:
        """The node at which a member is or was in an epoch; if that is not known any more, where it is now."""
        member = self._members.get(incarnation)
        if member is None:
            return None
        former = self._former.get(incarnation)
        return member.node if former is None else former.get(epoch, member.node)

    def update(self, kind: Kind, member_id: PeerId | UserId, metadata: dict[str, Any]) -> bool:
        """Set the metadata of a peer, or of all connections of a user; return False if that changes nothing."""
        if kind is Kind.PEER:
            peer = self.peer(cast("PeerId", member_id))
            changed = [] if peer is None else [peer]
        else:
            changed = [one for one in self._members.values() if one.kind is kind and one.id == member_id]
            if changed:
                self._metadata[cast("UserId", member_id)] = metadata
        changed = [one for one in changed if one.metadata != metadata]
        for member in changed:
            self._replace(structs.replace(member, metadata=metadata))
        return bool(changed)

    def _replace(self, member: Member) -> Member:
        self._members[member.incarnation] = member
        if member.kind is Kind.PEER:
            self._peers[cast("PeerId", member.id)] = member
        return member

    def member(self, incarnation: Incarnation) -> Member | None:
        """The member with an incarnation."""
        return self._members.get(incarnation)

    def members(self) -> Iterable[Member]:
        """Every connection, peers and users, in join order."""
        return self._members.values()

    def peers(self) -> Iterable[Member]:
        """Every peer, in join order."""
        return self._peers.values()

    def users(self) -> Iterable[tuple[UserId, dict[str, Any], bool]]:
        """Every user once with its metadata and whether it is verified, in the order of their first connection."""
        metadata, verified = self._metadata, self._verified
        return ((user, metadata.get(user, {}), user in verified) for user in self._users)

    def connections_of(self, user_id: UserId) -> int:
        """The number of connections of a user."""
        return self._users.get(user_id, 0)

    def audience_size(self, kind: Kind) -> int:
        """The number of other members, on all nodes, that are told of a peer's update, or of what a user says."""
        if self.silent and kind is Kind.PEER:
            return 0
        return max(0, len(self._members) - (0 if kind is Kind.PEER else len(self._peers)) - 1)

    def local_users(self, except_for: Incarnation | None) -> list[Incarnation]:
        """The local connections of users, but for one."""
        members, user = self._members, Kind.USER
        return [one for one in self.local if members[one].kind is user and one != except_for]

    def audience(self, member: Member) -> list[Incarnation]:
        """The local members that are told of a member's join and leave: of peers all, of users the users."""
        if self.silent:
            return []
        if member.kind is Kind.PEER:
            return [one for one in self.local if one != member.incarnation]
        return self.local_users(except_for=member.incarnation)
