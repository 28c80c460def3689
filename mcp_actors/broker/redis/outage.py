"""Decisions that a node takes alone about a room: while Redis is away, and about members that Redis has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from mcp_actors.broker.redis.replica import LOCAL_GRACE
from mcp_actors.broker.redis.requests import Operation, Request
from mcp_actors.broker.redis.room import refusal
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import Event, JoinRefused, LeaveAccepted, LeaveReason, Moderated

if TYPE_CHECKING:
    from mcp_actors.broker.redis.replica import Replica
    from mcp_actors.broker.redis.requests import LocalMember


def extend_suspicion(replica: Replica, now: float, until: float) -> None:
    """Give the nodes of suspects time from now on, because Redis was away."""
    local = min(until, now + LOCAL_GRACE)
    for suspect in replica.suspects:
        replica.suspects[suspect] = local if suspect in replica.local else until


def expire_suspects(replica: Replica, now: float, again: float) -> None:
    """Request that the suspects whose time is over are removed; until `again` that is requested once."""
    due = [one for one, until in replica.suspects.items() if until <= now]
    if due:
        replica.suspects |= dict.fromkeys(due, again)
        replica.queue.add(Operation.EXPIRE, *due)


def refuse_joins(replica: Replica, before: float) -> list[Event]:
    """Refuse the joins requested before a time; one that gets in after all leaves at once. Claims wait for Redis."""
    told: list[Event] = []
    for incarnation, local in list(replica.local.items()):
        if replica.is_here(incarnation) or local.claimed or local.refused or local.since >= before:
            continue
        told.append(refusal(local))
        if local.sent:
            local.refused = True
            replica.local.leave(incarnation, LeaveReason.DISCONNECTED)
        else:
            replica.queue.discard_all_about(incarnation)
            del replica.local[incarnation]
    return told


def refuse_moderation(replica: Replica) -> list[Event]:
    """Refuse the requests of moderators. One that was sent before the outage may have been carried out."""
    return [Moderated(one.members[0], done=False, failed=True) for one in replica.queue.take_moderation()]


def accept_leaves(replica: Replica) -> list[Event]:
    """Let go of the members of this node that want to leave. Redis, and so the others, are told when it is back."""
    told: list[Event] = []
    for incarnation, local in replica.local.items():
        if local.leaving is not None and not local.let_go and replica.is_here(incarnation):
            local.let_go = True
            told.append(LeaveAccepted(incarnation, local.leaving))
    return told


def join_locally(replica: Replica, before: float) -> list[Event]:
    """Add the members whose joins were requested before a time, by this node alone.

    Redis is told when it is back, and removes those whose id or order another has by then.
    """
    told: list[Event] = []
    for incarnation, local in list(replica.local.items()):
        if local.joined or local.claimed or local.since >= before or local.leaving is not None:
            continue
        replica.queue.discard(Request(Operation.JOIN, (incarnation,)))
        code = _local_refusal(replica, local)
        if code is not None:
            del replica.local[incarnation]
            told.append(JoinRefused(incarnation, code))
            continue
        replica.version = replica.version or 0
        replica.provisional = True
        orders = [member.order for member in replica.members.values() if member.kind is local.member.kind]
        for rival in _leaving_rivals(replica, local):
            told += replica.remove(rival.member.incarnation, rival.leaving or LeaveReason.DISCONNECTED)
        told += replica.add(structs.replace(local.member, order=max(orders, default=0) + 1))
    return told


def _local_refusal(replica: Replica, local: LocalMember) -> ErrorCode | None:
    if replica.lock > 0 and not local.moderator:
        return ErrorCode.ROOM_LOCKED
    rivals = replica.table.rivals(local.member)
    if rivals:
        all_leave = len(rivals) == len(_leaving_rivals(replica, local))
        return None if all_leave else ErrorCode.PEER_ID_TAKEN
    return replica.table.refusal(local.member, local.capacity)


def _leaving_rivals(replica: Replica, local: LocalMember) -> list[LocalMember]:
    """The rivals of this node that want to leave, such as an earlier member of the same client."""
    found = [replica.local.get(rival.incarnation) for rival in replica.table.rivals(local.member)]
    return [rival for rival in found if rival is not None and rival.leaving is not None]


def leave_locally(replica: Replica) -> list[Event]:
    """Remove the members of this node that want to leave, by this node alone, if others of it stay to see it."""
    told: list[Event] = []
    if replica.local.any_staying:
        for incarnation, local in list(replica.local.items()):
            if local.leaving is not None and incarnation in replica.members:
                replica.provisional = True
                told += replica.remove(incarnation, local.leaving)
    return told
