"""One room as Redis told it to this node, without I/O.

Membership changes only by what is read from the node's inbox. The methods return the events that the room receives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from mcp_actors.broker.member_table import MemberTable
from mcp_actors.broker.redis.entries import (
    Announced,
    Closed,
    Left,
    Locked,
    Moved,
    OwnerFenced,
    Presence,
    RecoveryEnded,
    Updated,
    pack_metadata,
    unpack_metadata,
    unpack_notice,
)
from mcp_actors.broker.redis.requests import LocalMembers, Operation, Request, RequestQueue
from mcp_actors.broker.redis.sequence_tracker import SequenceTracker
from mcp_actors.protocol import events
from mcp_actors.protocol.events import (
    BY_MODERATORS,
    ClaimRefused,
    Event,
    LeaveReason,
    MemberMoved,
    Notice,
    Removal,
    at_offset,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker.redis.entries import Change, Changes, Snapshot
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import Incarnation, NodeId

RESYNC = Request(Operation.RESYNC)

ABOVE_ALL_VERSIONS = 2**63

MAX_KICKED = 32
"""Members of a room that were kicked and are announced as such after a loss of data."""

LOCAL_GRACE = 1.0
"""Seconds after a restart that the other nodes have to come back before a member of this node leaves."""


class Replica:
    """The roster, version and lock of a room on one node. Times are seconds of any one clock."""

    def __init__(self, node: NodeId) -> None:
        self.node = node
        self.queue = RequestQueue()
        self.local = LocalMembers(self.queue)
        self.table = MemberTable()
        self.members = self.table.members
        self.suspects: dict[Incarnation, float] = {}
        """Members that Redis lost, until when their nodes may announce them again."""
        self.sequences = SequenceTracker()
        self.version: int | None = None
        """None until a snapshot arrived."""
        self.lock = 0
        """The version in which the room was locked, or, negative, unlocked."""
        self.syncing_since: float | None = None
        self.provisional = False
        """This node changed the room by itself, while Redis was away."""
        self.departing: set[Incarnation] = set()
        """Members that moved away and were not handed over yet: frames for them may arrive."""
        self.fences: dict[Incarnation, int] = {}
        """The epochs below which frames from a member are stale."""
        self.kicked: dict[Incarnation, Notice] = {}
        """The members that were kicked lately, in case Redis loses that."""
        self.deferred: list[tuple[int, Event]] = []
        """Events that follow the changes up to a version."""
        self.run_id = ""
        """The run of the server that sent the last snapshot."""
        self._token = ""
        self._unapplied: dict[Incarnation, Left] = {}  # leaves behind changes that are missing

    @property
    def settled(self) -> bool:
        """Whether this node knows what Redis knows, as far as it can tell."""
        return self.version is not None and self.syncing_since is None

    def is_here(self, incarnation: Incarnation) -> bool:
        """Whether a member is known to be in the room, at this node."""
        return self.table.node_of(incarnation) == self.node

    def apply_changes(
        self, news: Changes, now: float, offset: Callable[[int], bytes] = lambda _index: b""
    ) -> list[Event]:
        """Apply changes that follow the known version; request a snapshot if some are missing.

        `offset` returns the offset of a change by its index.
        """
        if self.version is None or news.version <= self.version:
            return []
        if news.after != self.version:
            self._unapplied |= {left.incarnation: left for left in news.changes if isinstance(left, Left)}
            self.resync(now)
            return []
        self.version = news.version
        told = [at_offset(event, offset(i)) for i, change in enumerate(news.changes) for event in self._apply(change)]
        return told + self.take_deferred() + self.unsubscribe()

    def _apply(self, change: Change) -> list[Event]:
        match change:
            case Left():
                return self.remove(change.incarnation, change.reason, unpack_notice(change.notice))
            case Updated():
                return self._update(change)
            case Presence():
                return self._set_presence(change.incarnation, detached=change.detached)
            case Moved():
                return self._move(change.incarnation, change.node, change.epoch, change.silent)
            case OwnerFenced():
                return _fence_owner(self, change.incarnation, change.epoch)
            case RecoveryEnded():
                return [events.RecoveryEnded(self.version or 0, change.incarnation, change.epoch)]
            case Locked():
                return self._set_lock(self.version or 0, change.by, locked=change.locked)
            case Announced():
                return [events.Announced(self.version or 0, msgspec.json.decode(change.content), change.to)]
            case Closed():
                return _close(self, change.by, unpack_notice(change.notice))
            case _:
                return self.add(change)

    def apply_snapshot(self, whole: Snapshot, now: float, suspect_until: float, offset: bytes = b"") -> list[Event]:
        """Take over a snapshot, and return what is different.

        A missing member has left. But if Redis lost data since, its node has until `suspect_until` to announce it
        again, and if it does not, all nodes learn of the leave at once. A missing member of this node is announced
        again.
        """
        requested = whole.token == self._token
        other_server = requested and whole.run_id != self.run_id  # its clock may be behind
        if self.version is not None and whole.version < self.version and not other_server:
            return []
        if self.provisional and not requested:  # read again, and from before this node changed the room
            return []
        if requested:
            self.syncing_since = None
            self.provisional = False
        if self.version is None and not any(member.incarnation in self.local for member in whole.members):
            if self.local.any_staying:
                self.resync(now)
            return []
        lost_data = bool(self.run_id) and self.run_id != whole.run_id
        self.version, self.run_id = whole.version, whole.run_id
        told = self._set_lock(abs(whole.lock), locked=whole.lock > 0)
        present = {member.incarnation for member in whole.members}
        for incarnation in [one for one in self.members if one not in present]:
            told += self._missing(incarnation, now, suspect_until, lost_data=lost_data)
        newcomers = [member for member in whole.members if member.incarnation not in self.members]
        newcomers.sort(key=lambda member: (member.node == self.node, member.order))
        for member in whole.members:
            told += self._compare(member)
        joins = [event for member in newcomers for event in self.add(member)]
        told += sorted(joins, key=lambda event: isinstance(event, MemberMoved))  # all are known before any arrives
        self._unapplied.clear()
        return [at_offset(event, offset) for event in told] + self.take_deferred() + self.unsubscribe()

    def _compare(self, member: Member) -> list[Event]:
        """Take over what a snapshot, or the announcement of its node, says of a known member."""
        if _has_joined_anew(self, member):
            return self.remove(member.incarnation, LeaveReason.DISCONNECTED) + self.add(member)
        self._confirm(member)
        told = self._move(member.incarnation, member.node, member.epoch)
        if self.members.get(member.incarnation, member).updated != member.updated:
            told += self._update(Updated(member.kind, member.id, pack_metadata(member.metadata), member.updated))
        local = self.local.get(member.incarnation)
        if local is not None and local.detached is not member.detached:  # this node knows better
            self.local.set_presence(member.incarnation, detached=local.detached)
        else:
            told += self._set_presence(member.incarnation, detached=member.detached)
        return told

    def _missing(self, incarnation: Incarnation, now: float, suspect_until: float, *, lost_data: bool) -> list[Event]:
        if incarnation in self._unapplied:
            return self._apply(self._unapplied[incarnation])
        local = self.local.get(incarnation)
        if local is not None and local.leaving is None:
            self.resync(now)
            return []
        if local is not None and not self.local.any_staying:
            return self.remove(incarnation, local.leaving or LeaveReason.DISCONNECTED)
        if lost_data or incarnation in self.suspects:
            until = suspect_until if local is None else min(suspect_until, now + LOCAL_GRACE)
            self.suspects.setdefault(incarnation, until)
            return []
        return self.remove(incarnation, LeaveReason.DISCONNECTED)

    def _confirm(self, member: Member) -> None:
        """A known member is there. One of this node that was told another order has to join again."""
        self.suspects.pop(member.incarnation, None)
        known = self.members.get(member.incarnation)
        if known is not None and known.order != member.order and known.node == self.node:
            self.local.leave(member.incarnation, LeaveReason.DISCONNECTED)

    def add(self, member: Member) -> list[Event]:
        """A member joined."""
        local = self.local.get(member.incarnation) if member.node == self.node else None  # else it is only claimed
        if local is not None:
            local.joined = True
        if member.incarnation in self.members:
            return self._compare(member)
        rivals = self.table.rivals(member)
        if any(rival.order > member.order for rival in rivals):
            return []  # Redis has lost that it left, and that the rival joined since, which is announced again
        told = [event for rival in rivals for event in self.remove(rival.incarnation, LeaveReason.NODE_LOST)]
        if local is not None and local.member.metadata == member.metadata:  # share it instead of keeping a copy
            member = structs.replace(member, metadata=local.member.metadata)
        self.table.put(member)
        if member.node == self.node and member.incarnation not in self.local:
            self.local.let_leave(member)
        told.append(events.MemberJoined(self.version or 0, member))
        if local is not None and local.refused:  # the others are told of it, too, until it has left
            local.let_go = True
            told.append(events.LeaveAccepted(member.incarnation, local.leaving or LeaveReason.DISCONNECTED))
        if local is not None and local.claimed:
            if member.detached and not local.detached:  # so its former node announced it
                self.local.set_presence(member.incarnation, detached=False)
            told.append(self._moved(member, local.old or member.node, tuple(self.table.nodes)))
        return told

    def _move(self, incarnation: Incarnation, node: NodeId, epoch: int, silent: tuple[NodeId, ...] = ()) -> list[Event]:
        member = self.members.get(incarnation)
        if member is None or epoch <= member.epoch:
            return []
        others = tuple(one for one in self.table.nodes if one not in silent)
        moved = structs.replace(member, node=node, epoch=epoch, detached=False)
        self.table.put(moved)
        if node == self.node and incarnation not in self.local:
            self.local.let_leave(moved)
        if member.node == self.node and node != self.node:
            self.sequences.expect(incarnation)
            gone = self.local.pop(incarnation, None)
            if gone is not None and gone.leaving is None:  # else nobody waits for its frames
                self.departing.add(incarnation)
        told: list[Event] = [self._moved(moved, member.node, others)]
        if member.detached:  # Redis says so, too, unless it has lost that the member was detached
            told.append(events.PresenceChanged(self.version or 0, incarnation, False))
        return told

    def _moved(self, member: Member, old: NodeId, others: tuple[NodeId, ...]) -> MemberMoved:
        local = self.local.get(member.incarnation)
        if local is not None:
            local.joined = True
        return MemberMoved(self.version or 0, member.incarnation, old, member.node, member.epoch, others)

    def _set_presence(self, incarnation: Incarnation, *, detached: bool) -> list[Event]:
        member = self.members.get(incarnation)
        if member is None or member.detached is detached:
            return []
        self.table.put(structs.replace(member, detached=detached))
        return [events.PresenceChanged(self.version or 0, incarnation, detached)]

    def _update(self, update: Updated) -> list[Event]:
        metadata = unpack_metadata(update.metadata)
        if not self.table.update(update.kind, update.id, metadata, update.updated):
            return []
        return [events.MemberUpdated(self.version or 0, update.kind, update.id, metadata, update.by)]

    def remove(self, incarnation: Incarnation, reason: LeaveReason, notice: Notice = events.NO_NOTICE) -> list[Event]:
        """A member left."""
        member = self.table.remove(incarnation)
        if member is None:
            return []
        if member.node == self.node:
            self.sequences.expect(incarnation)
        if reason is LeaveReason.KICKED:
            self.kicked[incarnation] = notice
            if len(self.kicked) > MAX_KICKED:
                del self.kicked[next(iter(self.kicked))]
        self.suspects.pop(incarnation, None)
        self.fences.pop(incarnation, None)
        self.departing.discard(incarnation)
        local = self.local.pop(incarnation, None)
        left = events.MemberLeft(self.version or 0, incarnation, reason, notice)
        if local is None:
            return [left]
        if local.claimed and member.node != self.node:  # the claim comes too late
            return [ClaimRefused(incarnation, Removal(reason, notice) if reason in BY_MODERATORS else None), left]
        if self.queue.in_flight == Request(Operation.JOIN, (incarnation,)):
            self.local.keep_out(local, reason)
        return [left]

    def _set_lock(self, version: int, by: Incarnation | None = None, *, locked: bool) -> list[Event]:
        changed = by is not None or locked is not (self.lock > 0)
        self.lock = version if locked else -version
        return [events.RoomLocked(self.version or 0, locked, by)] if changed else []

    def take_deferred(self) -> list[Event]:
        """The deferred events whose changes are applied: a reply may be faster than the entries before it."""
        if not self.deferred:
            return []
        awaited = any(local.joined and one not in self.members for one, local in self.local.items())
        known = self.version or (0 if awaited else ABOVE_ALL_VERSIONS)
        due = [event for version, event in self.deferred if version <= known]
        self.deferred = [one for one in self.deferred if one[0] > known]
        return due

    def release(self, incarnation: Incarnation) -> list[Event]:
        """A member that moved away was handed over."""
        self.departing.discard(incarnation)
        return self.unsubscribe()

    def unsubscribe(self) -> list[Event]:
        """Forget everything if this node has no member in the room: it receives no changes any more."""
        if self.version is None or self.departing or self.node in self.table.nodes:
            return []
        self.reset()
        late, self.deferred = self.deferred, []
        return [events.Unsubscribed(), *(event for _, event in late)]

    def reset(self) -> None:
        """Forget everything that Redis told about the room."""
        self.version = None
        self.table.clear()
        self.suspects.clear()
        self.fences.clear()
        self.kicked.clear()
        self.departing.clear()
        self._unapplied.clear()
        self.sequences = SequenceTracker()
        self.syncing_since = None
        self.provisional = False
        self.lock = 0
        self.run_id = ""

    def resync(self, now: float) -> None:
        """Request a snapshot, once."""
        if self.syncing_since is None:
            self.syncing_since = now
            self.queue.add_first(RESYNC)

    def resync_again(self, now: float) -> None:
        """Request a snapshot, whatever was requested before."""
        self.queue.discard(RESYNC)
        if self.version is not None:
            self.syncing_since = None
            self.resync(now)

    def next_token(self) -> str:
        """The token of a new request for a snapshot; earlier ones are void."""
        self._token = str(int(self._token or 0) + 1)
        return self._token

    def mark_data_lost(self) -> None:
        """The server is the same but lost its data: missing members may only have been forgotten."""
        self.run_id = "lost"

    def fenced(self) -> list[Event]:
        """This node was fenced: the others were told that its members left. Joins in flight go on."""
        here = [one for one in self.local if self.is_here(one)]
        told = [event for incarnation in here for event in self.remove(incarnation, LeaveReason.NODE_LOST)]
        self.departing.clear()
        told += self.unsubscribe()
        told += [event for _, event in self.deferred]
        self.deferred.clear()
        self.reset()
        self.queue.clear()
        for local in self.local.values():
            local.joined = True
        self.local.request_again(self.is_here)
        return told


def _fence_owner(replica: Replica, incarnation: Incarnation, epoch: int) -> list[Event]:
    if incarnation not in replica.members:
        return []
    replica.fences[incarnation] = epoch
    return [events.OwnerFenced(replica.version or 0, incarnation, epoch)]


def _has_joined_anew(replica: Replica, member: Member) -> bool:
    """Whether a member of another node has another order now: Redis lost its join, and its node repeated that."""
    known = replica.members.get(member.incarnation)
    is_other = known is not None and known.order != member.order and replica.node not in (known.node, member.node)
    return is_other and member.incarnation not in replica.local and member.incarnation not in replica.departing


def _close(replica: Replica, by: Incarnation, notice: Notice) -> list[Event]:
    members = list(replica.members)
    left = [event for one in members for event in replica.remove(one, LeaveReason.ROOM_CLOSED, notice)]
    refused = [event for event in left if isinstance(event, ClaimRefused)]
    return [*refused, events.RoomClosed(replica.version or 0, by, notice)]
