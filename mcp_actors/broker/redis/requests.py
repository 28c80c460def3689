"""A node's requests to Redis about one room, and the progress of its own members there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import Incarnation

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.events import Member
    from mcp_actors.protocol.identifiers import NodeId


class Operation(Enum):
    """The kinds of requests about a room."""

    JOIN = auto()
    CLAIM = auto()
    FENCE_OWNER = auto()
    END_RECOVERY = auto()
    LEAVE = auto()
    DETACH = auto()
    ATTACH = auto()
    UPDATE = auto()
    KICK = auto()
    LOCK = auto()
    UNLOCK = auto()
    CLOSE = auto()
    LIST_BANS = auto()
    UNBAN = auto()
    ANNOUNCE = auto()
    RESYNC = auto()
    EXPIRE = auto()


MODERATION = (
    *(Operation.UPDATE, Operation.KICK, Operation.LOCK, Operation.UNLOCK, Operation.CLOSE),
    *(Operation.LIST_BANS, Operation.UNBAN, Operation.ANNOUNCE),
)
"""Requests that end with `Moderated`."""

AFTER_RECOVERY = (Operation.JOIN, Operation.UPDATE, Operation.KICK, Operation.CLOSE)
"""Requests that wait, after a restart of Redis, until all nodes have announced their members."""


class Request(NamedTuple):
    """One request about some members, or by one of them, with the arguments of its script."""

    operation: Operation
    members: tuple[Incarnation, ...] = ()
    arguments: tuple[str | int, ...] = ()


class RequestQueue:
    """The requests of one room without a reply. One at a time is in flight, so that no leave overtakes its join."""

    def __init__(self) -> None:
        self.in_flight: Request | None = None
        self.not_before = 0.0
        """When the operations in `AFTER_RECOVERY` may be sent."""
        self.claims_not_before = 0.0
        """When claims may be sent, one of whose members nobody has announced yet."""
        self._waiting: deque[Request] = deque()

    def __contains__(self, request: Request) -> bool:
        return request == self.in_flight or request in self._waiting

    @property
    def empty(self) -> bool:
        """Whether every request has its reply."""
        return not self._waiting and self.in_flight is None

    @property
    def blocked(self) -> bool:
        """Whether requests wait that cannot be sent now."""
        return bool(self._waiting) and self.in_flight is None

    def add(self, operation: Operation, *members: Incarnation, arguments: tuple[str | int, ...] = ()) -> None:
        """Append a request."""
        self._waiting.append(Request(operation, members, arguments))

    def add_first(self, request: Request) -> None:
        """Put a request before all that wait."""
        self._waiting.appendleft(request)

    def discard(self, request: Request) -> None:
        """Remove a request that waits."""
        self._waiting = deque(one for one in self._waiting if one != request)

    def discard_all_about(self, incarnation: Incarnation) -> None:
        """Remove the requests about a member that wait."""
        self._waiting = deque(one for one in self._waiting if incarnation not in one.members)

    def take_moderation(self) -> list[Request]:
        """Remove the requests of moderators that wait, and return them."""
        taken = [one for one in self._waiting if one.operation in MODERATION]
        self._waiting = deque(one for one in self._waiting if one.operation not in MODERATION)
        return taken

    def clear(self) -> None:
        """Remove all requests that wait."""
        self._waiting.clear()

    def next(self, now: float) -> Request | None:
        """The request to send now, which is in flight from then on."""
        if self.in_flight is not None or not self._waiting:
            return None
        operation = self._waiting[0].operation
        if operation in AFTER_RECOVERY and now < self.not_before:
            return None
        if operation is Operation.CLAIM and now < self.claims_not_before:
            return None
        self.in_flight = self._waiting.popleft()
        return self.in_flight

    def finish(self) -> Request | None:
        """Take the request in flight, which has its reply."""
        request, self.in_flight = self.in_flight, None
        return request

    def retry(self) -> None:
        """Send the request in flight again, before the others: the link broke, and it was carried out or not."""
        request = self.finish()
        if request is not None:
            self.add_first(request)


@dataclass(slots=True)
class LocalMember:
    """A member of this node: what it wants, and how far that is since a time.

    claimed: it was at another node, `old`, and this one claimed it. sent: its join or claim was sent, so it may be in
    the room without a reply. joined: Redis confirmed it, so it is announced again should Redis forget it. abandoned:
    its room actor failed, and nobody waits for its events. refused: its room was told that it was refused or left, so
    that it leaves at once should it get in after all. let_go: its room was told that it may be let go. recovered: all
    nodes were told that its recovery has ended, which Redis may lose.
    """

    member: Member
    capacity: int
    since: float
    claimed: bool = False
    moderator: bool = False
    old: NodeId | None = None
    sent: bool = False
    joined: bool = False
    detached: bool = False
    leaving: LeaveReason | None = None
    abandoned: bool = False
    refused: bool = False
    let_go: bool = False
    recovered: bool = False

    @property
    def staying(self) -> bool:
        """Whether it is in the room and is to stay there."""
        return self.joined and self.leaving is None


class LocalMembers(dict[Incarnation, LocalMember]):
    """The members of this node in one room; what they want becomes requests."""

    def __init__(self, queue: RequestQueue) -> None:
        super().__init__()
        self._queue = queue

    def join(self, member: Member, capacity: int, now: float, *, moderator: bool = False) -> None:
        """Request that a member joins."""
        if member.incarnation not in self:
            self[member.incarnation] = LocalMember(member, capacity, now, moderator=moderator)
            self._queue.add(Operation.JOIN, member.incarnation)

    def claim(self, member: Member, now: float) -> None:
        """Request that a member of another node moves here; `member` is what it will be."""
        if member.incarnation not in self:
            self[member.incarnation] = LocalMember(member, 0, now, claimed=True)
            self._queue.add(Operation.CLAIM, member.incarnation)

    def fence_owner(self, incarnation: Incarnation) -> None:
        """Request that the earlier owners of a member that moved here are fenced."""
        if incarnation in self:
            self._queue.add(Operation.FENCE_OWNER, incarnation)

    def end_recovery(self, incarnation: Incarnation, epoch: int) -> None:
        """Request that all nodes are told that the recovery of a member has ended, which may have moved on."""
        local = self.get(incarnation)
        if local is not None:
            local.recovered = True
        self._queue.add(Operation.END_RECOVERY, incarnation, arguments=(epoch,))

    def leave(self, incarnation: Incarnation, reason: LeaveReason) -> None:
        """Request that a member leaves."""
        local = self.get(incarnation)
        if local is not None and local.leaving is None:
            local.leaving = reason
            self._queue.add(Operation.LEAVE, incarnation)

    def let_leave(self, member: Member) -> None:
        """Let a member of this node leave, for which nobody waits any more."""
        local = self[member.incarnation] = LocalMember(member, 0, 0.0, claimed=True)
        local.joined = True
        self.leave(member.incarnation, LeaveReason.DISCONNECTED)

    def set_presence(
        self, incarnation: Incarnation, known: Member | None = None, *, detached: bool, address: str = ""
    ) -> None:
        """Request that a member is marked as detached or attached, and its address if it is given.

        `known`: the member as all nodes know it, which may be so already: its claim has attached it.
        """
        local = self.get(incarnation)
        if local is None or local.leaving is not None:
            return
        is_known = known is not None and known.detached == local.detached == detached
        if is_known and address in ("", local.member.address):
            return
        local.detached = detached
        if address:
            local.member = structs.replace(local.member, address=address)
        self._queue.add(Operation.DETACH if detached else Operation.ATTACH, incarnation)

    @property
    def any_staying(self) -> bool:
        """Whether this node keeps receiving changes of the room."""
        return any(local.staying for local in self.values())

    def epoch(self, incarnation: Incarnation) -> int:
        """The epoch with which a member moved here, or is to move; 0 if it did not move."""
        local = self.get(incarnation)
        return local.member.epoch if local is not None and local.claimed else 0

    def keep_out(self, local: LocalMember, reason: LeaveReason) -> None:
        """Make a member leave again that left while its join was repeated, because the first join was reported late."""
        local.joined, local.refused, local.leaving = False, True, None
        incarnation = local.member.incarnation
        self._queue.discard_all_about(incarnation)
        self[incarnation] = local
        self.leave(incarnation, reason)

    def request_again(self, is_here: Callable[[Incarnation], bool]) -> None:
        """Repeat the requests of members that were confirmed but did not arrive: their entries may be lost."""
        for incarnation, local in self.items():
            if local.joined and not is_here(incarnation):
                local.joined = False
                self._queue.discard_all_about(incarnation)
                self._queue.add(Operation.CLAIM if local.claimed else Operation.JOIN, incarnation)
                if local.leaving is not None:
                    self._queue.add(Operation.LEAVE, incarnation)
            if local.recovered:
                self.end_recovery(incarnation, local.member.epoch)
