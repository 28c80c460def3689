"""One room on one node: requests in, script calls out, replies in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from mcp_actors.broker.redis import scripts
from mcp_actors.broker.redis.entries import StoredMember, field_of, pack, pack_notice, unpack_notice
from mcp_actors.broker.redis.recovery import departed_before
from mcp_actors.broker.redis.replica import RESYNC, Replica
from mcp_actors.broker.redis.requests import MODERATION, Operation, Request
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    NO_NOTICE,
    Ban,
    ClaimRefused,
    Event,
    HandedOver,
    JoinRefused,
    Kind,
    LeaveReason,
    Moderated,
    OwnerFenced,
    Removal,
)
from mcp_actors.protocol.identifiers import SERVER, Incarnation, NodeId, PeerId

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker.redis.connection import Command
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.requests import LocalMember
    from mcp_actors.broker.redis.scripts import Script
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import RoomId

Argument = str | bytes | int

REPAIR_PAUSE = 0.2
"""Seconds that joins wait for the other nodes to repair a damaged room."""

KEPT_OUT_MS = 60_000
"""How long, at least, members are kept out whose kick Redis lost: until all nodes have announced theirs."""

REFUSALS = {
    b"TAKEN": ErrorCode.PEER_ID_TAKEN,
    b"FULL": ErrorCode.ROOM_FULL,
    b"LOCKED": ErrorCode.ROOM_LOCKED,
    b"BANNED": ErrorCode.BANNED,
}


class Fenced(Exception):
    """Redis refuses this node, because it was declared dead."""


class Room:
    """`changed` is called after each request. Times are seconds of `clock`."""

    def __init__(
        self, room_id: RoomId, node: NodeId, clock: Callable[[], float], changed: Callable[[Room], None]
    ) -> None:
        self.id = room_id
        self.replica = Replica(node)
        self._queue = self.replica.queue
        self._local = self.replica.local
        self._clock = clock
        self._changed = changed
        self.damage = ""
        """How the keys of the room in Redis were found to be damaged, until they are repaired."""
        self._undeclared: set[NodeId] = set()
        self._owner: NodeId | None = None

    @property
    def idle(self) -> bool:
        """Whether this node has nothing to do with the room any more."""
        replica = self.replica
        return not (self._local or replica.departing or replica.deferred) and self._queue.empty

    @property
    def quiet(self) -> bool:
        """Whether nothing here waits for time to pass."""
        replica = self.replica
        if not replica.settled or replica.suspects or self._queue.blocked:
            return False
        return all(replica.is_here(one) and local.leaving is None for one, local in self._local.items())

    def overdue(self, before: float) -> bool:
        """Whether a snapshot or the join of a member has been awaited since before a time."""
        replica = self.replica
        if replica.syncing_since is not None and replica.syncing_since < before:
            return True
        return any(
            local.joined and local.since < before and not replica.is_here(one) for one, local in self._local.items()
        )

    def join(self, member: Member, capacity: int, *, moderator: bool = False) -> None:
        """Request that a member of this node joins."""
        self._local.join(member, capacity, self._clock(), moderator=moderator)
        self._changed(self)

    def claim(self, member: Member) -> None:
        """Request that a member of another node moves here."""
        self._local.claim(member, self._clock())
        self._changed(self)

    def fence_owner(self, incarnation: Incarnation) -> None:
        """Request that the earlier owners of a member that moved here are fenced."""
        self._local.fence_owner(incarnation)
        self._changed(self)

    def end_recovery(self, incarnation: Incarnation, epoch: int) -> None:
        """Request that all nodes are told that the recovery of a member has ended, which may have moved on."""
        self._local.end_recovery(incarnation, epoch)
        self._changed(self)

    def leave(self, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Request that a member of this node leaves."""
        self._local.leave(incarnation, reason)
        self._changed(self)

    def set_presence(self, incarnation: Incarnation, *, detached: bool, address: str = "") -> None:
        """Request that a member of this node is marked as detached or attached, and its address if it is given."""
        known = self.replica.members.get(incarnation)
        self._local.set_presence(incarnation, known, detached=detached, address=address)
        self._changed(self)

    def moderate(self, by: Incarnation, operation: Operation, arguments: tuple[str | int, ...]) -> bool:
        """Request an update or what a moderator wants, if that member is in the room here, or the application."""
        if not (self.replica.is_here(by) or (by == SERVER and self._local.any_staying)):
            return False
        self._queue.add(operation, by, arguments=arguments)
        self._changed(self)
        return True

    def abandon(self) -> None:
        """The room actor failed: its members leave, and a later join starts from nothing."""
        for incarnation, local in self._local.items():
            local.abandoned = True
            self._local.leave(incarnation, LeaveReason.DISCONNECTED)
        self.replica.reset()
        self._changed(self)

    def resync_anew(self, now: float) -> None:
        """Repeat what may not have happened: the server is another one, or late, or lost its data."""
        self.damage = ""
        self._local.request_again(self.replica.is_here)
        self.replica.resync_again(now)

    def repair(self, now: float, damage: str = "") -> None:
        """Synchronize the room although the server did not restart: keys of it were deleted or changed by hand.

        Members that Redis lost are suspects, as after a restart.
        """
        self.damage = self.damage or damage
        self.replica.mark_data_lost()
        self.replica.resync_again(now)
        self.replica.resync(now)  # also if this node is about to join the room

    def next_command(self, keys: Keys, settings: RedisSettings, run_id: str) -> Command | None:
        """The script call of the next request, unless one is in flight."""
        while (request := self._queue.next(self._clock())) is not None:
            found = self._script(request, settings, run_id)
            if found is None:
                self._queue.finish()
                continue
            script, arguments = found
            node = self.replica.node
            nodes = [node, *sorted({*self.replica.table.nodes, *self._undeclared} - {node})]
            common = (node, self.id, keys.inboxes, settings.max_inbox_entries, run_id)
            return scripts.room_call(script, keys, settings, keys.of_room(self.id, nodes), (*common, *arguments))
        return None

    def _script(self, request: Request, settings: RedisSettings, run_id: str) -> tuple[Script, list[Argument]] | None:
        replica = self.replica
        if request.operation is Operation.RESYNC:
            announced = [self._announcement(incarnation, local) for incarnation, local in self._local.items()]
            announced += [
                {"member": StoredMember.of(one), "confirmed": True} for one in departed_before(replica, run_id)
            ]
            elsewhere = {
                incarnation: {"node": member.node, "epoch": member.epoch}
                for incarnation, member in replica.members.items()
                if member.epoch and incarnation not in self._local
            }
            kicked = [{"incarnation": one, "notice": pack_notice(notice)} for one, notice in replica.kicked.items()]
            what = [pack(announced), pack(elsewhere), pack(kicked)]
            times = [max(KEPT_OUT_MS, settings.window_ms), settings.lease_ms]
            return scripts.RESYNC, [replica.next_token(), replica.lock, *what, *times]
        if request.operation is Operation.EXPIRE:
            gone = [replica.members[one] for one in request.members if one in replica.members]
            members = [StoredMember.of(one) for one in gone]
            return (scripts.EXPIRE, [pack(members)]) if gone else None
        if request.operation is Operation.END_RECOVERY:
            return scripts.END_RECOVERY, [request.members[0], *request.arguments]
        if request.members[0] == SERVER:
            return _ordered_script(request, ["", SERVER], settings)
        local = self._local.get(request.members[0])
        return None if local is None else self._script_of_member(request, local, settings)

    def _announcement(self, incarnation: Incarnation, local: LocalMember) -> dict[str, object]:
        known = self.replica.members.get(incarnation, local.member)
        epoch = max(known.epoch, local.member.epoch) if local.joined else known.epoch
        address = local.member.address or known.address
        member = structs.replace(known, node=self.replica.node, detached=local.detached, epoch=epoch, address=address)
        confirmed = local.staying and incarnation in self.replica.members  # else its order is not known yet
        return {"member": StoredMember.of(member), "confirmed": confirmed}

    def _script_of_member(
        self, request: Request, local: LocalMember, settings: RedisSettings
    ) -> tuple[Script, list[Argument]]:
        member = local.member
        who: list[Argument] = [field_of(member), member.incarnation]
        snapshot = "1" if self.replica.version is None else ""
        match request.operation:
            case Operation.JOIN:
                local.sent = True
                stored = pack(StoredMember.of(structs.replace(member, order=0, detached=False)))
                return scripts.JOIN, [stored, local.capacity, snapshot, "1" if local.moderator else ""]
            case Operation.CLAIM:
                local.sent = True
                local.old = self._owner or self.replica.table.node_of(member.incarnation) or local.old
                return scripts.CLAIM, [*who, member.epoch, snapshot, local.old or ""]
            case Operation.FENCE_OWNER:
                return scripts.FENCE_OWNER, [*who, member.epoch]
            case Operation.LEAVE:
                return scripts.LEAVE, [*who, str(local.leaving)]
            case Operation.ATTACH | Operation.DETACH:
                detached = "1" if request.operation is Operation.DETACH else "0"
                return scripts.SET_PRESENCE, [*who, detached, member.address]
        return _ordered_script(request, who, settings)

    def answered(self, reply: list[bytes]) -> list[Event]:
        """Process the reply to the request in flight. Raises `Fenced`."""
        word, rest = reply[0], [part.decode() for part in reply[1:]]
        if word == b"DAMAGED" and self.damage and not self.resyncing:
            return self.failed()  # it could not be repaired
        now, request = self._clock(), self._queue.finish()
        if request is None:
            return []
        if word == b"FENCED":
            self._queue.add_first(request)
            raise Fenced
        if self._must_repeat(request, word, rest, now):
            self._queue.add_first(request)
            if word == b"DAMAGED":
                self.repair(now, "counts")
            return []
        self._undeclared.clear()
        self._owner = None
        return self._done(request, word, rest)

    def _done(self, request: Request, word: bytes, rest: list[str]) -> list[Event]:
        """Process the last reply to a request."""
        if request.operation is Operation.RESYNC:
            self.damage = ""
            lost = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
            told = [
                event for one, how, notice in lost for event in _displaced(self.replica, Incarnation(one), how, notice)
            ]
            return told + self.replica.unsubscribe()
        if request.operation in MODERATION:
            self.replica.deferred.append((int(rest[0] or 0), _outcome(request, word, rest[1:])))
        elif request.operation is Operation.FENCE_OWNER:
            return self._owner_fenced(request.members[0]) if word == b"NOOP" else []
        elif request.operation in (Operation.JOIN, Operation.CLAIM, Operation.LEAVE):
            local = self._local.get(request.members[0])
            if local is not None:
                return self._answered_about(local, request.operation, word, rest)
        return self.replica.take_deferred() if self.replica.deferred else []

    def _must_repeat(self, request: Request, word: bytes, rest: list[str], now: float) -> bool:
        """Whether Redis wants to be asked again: later, or with what it named."""
        match word:
            case b"LATER":
                if request.operation is Operation.CLAIM:
                    self._queue.claims_not_before = now + REPAIR_PAUSE
                else:
                    self._queue.not_before = now + int(rest[0]) / 1000
            case b"DAMAGED":
                self._queue.not_before = now + REPAIR_PAUSE
            case b"OWNER":
                self._owner = NodeId(rest[0])
            case b"KEYS":
                self._undeclared.update(map(NodeId, rest))
            case _:
                return False
        return True

    def _owner_fenced(self, incarnation: Incarnation) -> list[Event]:
        """The member is about to be told that it left or moved on: nobody need wait for the fence."""
        return [OwnerFenced(self.replica.version or 0, incarnation, self._local.epoch(incarnation))]

    def _answered_about(self, local: LocalMember, operation: Operation, word: bytes, rest: list[str]) -> list[Event]:
        incarnation, replica = local.member.incarnation, self.replica
        if operation is Operation.LEAVE:
            if replica.version is None and local.abandoned:
                del self._local[incarnation]  # nothing of the room is applied here, so this leave is not either
            elif word == b"NOOP":
                # Redis lost the member, so that no change may come; or its join and leave are on their way, and it must
                # not be joined again unless they are overdue.
                replica.resync_again(self._clock())
        elif word in REFUSALS and replica.is_here(incarnation):  # Redis lost it after an earlier attempt
            return replica.remove(incarnation, LeaveReason.NODE_LOST) + replica.unsubscribe()
        elif word in REFUSALS:
            del self._local[incarnation]
            if not local.refused:
                retry_after_ms, notice = (int(rest[1]), unpack_notice(rest[2])) if word == b"BANNED" else (0, NO_NOTICE)
                refused = JoinRefused(incarnation, REFUSALS[word], notice, retry_after_ms)
                replica.deferred.append((int(rest[0]), refused))
        elif word in (b"NOOP", b"REMOVED"):
            del self._local[incarnation]
            return [refusal(local, Removal(LeaveReason(rest[0]), unpack_notice(rest[1])) if rest else None)]
        else:
            local.joined, local.since = True, self._clock()
            if operation is Operation.CLAIM and rest[1:] == ["0"]:  # the old node is dead
                return [HandedOver(incarnation, b"")]
        return replica.take_deferred() if replica.deferred else []

    def failed(self) -> list[Event]:
        """Redis cannot carry out the request in flight: joins are refused, leaves are done without it."""
        request = self._queue.finish()
        if request is None or not request.members:
            return []
        incarnation = request.members[0]
        local = self._local.get(incarnation)
        if request.operation in MODERATION:
            return [Moderated(incarnation, done=False, failed=True)]
        if request.operation is Operation.FENCE_OWNER:
            return self._owner_fenced(incarnation)
        if local is None:
            return []
        if request.operation in (Operation.JOIN, Operation.CLAIM):
            if self.replica.is_here(incarnation):
                return []
            del self._local[incarnation]
            return [] if local.refused else [refusal(local)]
        if request.operation is Operation.LEAVE:
            del self._local[incarnation]
            reason = local.leaving or LeaveReason.DISCONNECTED
            return self.replica.remove(incarnation, reason) + self.replica.unsubscribe()
        return []

    @property
    def resyncing(self) -> bool:
        """Whether a snapshot is being requested."""
        return RESYNC in self._queue


def _displaced(replica: Replica, incarnation: Incarnation, how: str, notice: str) -> list[Event]:
    return replica.remove(incarnation, LeaveReason(how or LeaveReason.NODE_LOST), unpack_notice(notice))


def _ordered_script(request: Request, who: list[Argument], settings: RedisSettings) -> tuple[Script, list[Argument]]:
    """The script of an update or of what a moderator wants."""
    keep_out = settings.window_ms
    match request.operation:
        case Operation.UPDATE:
            return scripts.UPDATE, [*who, *request.arguments]
        case Operation.KICK:
            kind, whom, notice, ban = request.arguments
            return scripts.KICK, [*who, kind, whom, keep_out, notice, ban, settings.max_room_bans]
        case Operation.CLOSE:
            return scripts.CLOSE, [*who, keep_out, *request.arguments]
        case Operation.LIST_BANS:
            return scripts.LIST_BANS, who
        case Operation.ANNOUNCE:
            return scripts.ANNOUNCE, [*request.arguments]
        case Operation.UNBAN:
            return scripts.UNBAN, [*who, *request.arguments]
        case _:
            return scripts.LOCK, [*who, "1" if request.operation is Operation.LOCK else "0"]


def bans_of(flat: list[str]) -> tuple[Ban, ...]:
    """The bans in a reply of list_bans.lua."""
    fields = [flat[start::6] for start in range(6)]
    return tuple(
        Ban(Kind(kind), PeerId(name), int(ms) / 1000, unpack_notice(notice), PeerId(by), address == "1")
        for kind, name, ms, notice, by, address in zip(*fields, strict=True)
    )


def _outcome(request: Request, word: bytes, rest: list[str]) -> Moderated:
    bans, is_absent = bans_of(rest), word == b"ABSENT"
    return Moderated(request.members[0], word == b"OK" or is_absent, full=word == b"LIMIT", absent=is_absent, bans=bans)


def refusal(local: LocalMember, removal: Removal | None = None) -> Event:
    """The event that refuses a member's join or claim."""
    incarnation = local.member.incarnation
    return ClaimRefused(incarnation, removal) if local.claimed else JoinRefused(incarnation, ErrorCode.UNAVAILABLE)
