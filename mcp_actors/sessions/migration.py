"""The migration of a session: claimed by its new node, and handed over or persisted by its old one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from mcp_actors.protocol import handover
from mcp_actors.protocol.errors import SignalingError
from mcp_actors.protocol.events import Kind, LeaveReason, MemberMoved, Removal
from mcp_actors.protocol.handover import Behind, Handover, LeftBehind, MemberState, SessionState
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room.announcements import Target, closed, kicked
from mcp_actors.sessions.late_handover import LateHandover
from mcp_actors.sessions.session import VERIFIED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp_actors.broker import AcquiredSession
    from mcp_actors.node import Membership, Node
    from mcp_actors.sessions.migration_buffer import MigrationBuffer
    from mcp_actors.sessions.session import Session

log = structlog.get_logger("mcp_actors.session")

OLD_NODE_PATIENCE = 1.0
"""Seconds the old node waits for messages that other nodes still send to it, before it hands over what it has."""

NEW_NODE_PATIENCE = 3 * OLD_NODE_PATIENCE
"""Seconds the new node waits for the handover, before it continues with what it has."""

LOOK, LOOKS = 0.03, 8
"""Seconds between looks at whether another node is still there, and how many tell that it is."""


async def migrate_in(
    node: Node,
    session: Session,
    buffer: MigrationBuffer,
    acquired: AcquiredSession,
    received: int,
    unknown: int,
    offsets: Mapping[RoomId, str],
) -> None:
    """Claim the memberships, wait for the handover, recover what is missing, and activate the session.

    The client has the messages up to `received`. `unknown`: a number that no message of the session has reached, if
    nobody knows better. `offsets`: the last offset that the client received in each room.
    """
    claimed, removals = await _claim(node, session, acquired.rooms)
    count = len(acquired.rooms)
    left = handover.unpack_left(acquired.left) if acquired.left else None
    if left is None:
        await _await_handovers(node, buffer, claimed)
        unclaimed = buffer.unclaimed(claimed)
        if unclaimed:
            more, more_removals = await _claim(node, session, unclaimed)
            claimed, removals, count = claimed | more, removals | more_removals, count + len(unclaimed)
            await _await_handovers(node, buffer, claimed)
        await _fence_silent_nodes(session, buffer, claimed, received)
    else:
        for one in left.members:
            buffer.handed_over(one.room, Handover(one.member, left.session, one.offset))
    lossy = len(claimed) + len(removals) < count
    for room, (membership, move) in claimed.items():
        told = buffer.handovers.get(room)
        if room in session.rooms.removed or (told is not None and not told.offset):
            lossy |= told is not None and told.is_late and session.kind is Kind.USER  # peers' messages are returned
            continue
        if told is None or left is not None:  # else the old node has told the room
            membership.adopt(MemberState(membership.presence) if told is None else told.member)
        offset = offsets.get(room, "") if told is None else told.offset
        is_whole = await membership.recover(room, move, offset, OLD_NODE_PATIENCE) and told is not None
        if not is_whole:
            membership.end_recovery(room, move)
        lossy |= not is_whole
    lossy |= not all(map(node.broker.is_settled, claimed))
    memberships = {room: membership for room, (membership, _) in claimed.items()}
    state = buffer.state(unknown)
    messages = [*buffer.recovered, *(told for room, told in removals.items() if room not in state.removed)]
    complete = session.activate(memberships, state, messages, lossy=lossy)
    if session.late is None:
        for membership in memberships.values():
            membership.deliver_late(())
    log.info("session migrated in", complete=complete, rooms=count, claimed=len(claimed))


async def _await_handovers(
    node: Node, buffer: MigrationBuffer, claimed: Mapping[RoomId, tuple[Membership, MemberMoved]]
) -> None:
    """Wait until all rooms are handed over, as long as their old nodes are connected to the broker.

    Messages of a node that is gone have arrived when the broker says so, but are still to be handled.
    """
    loop = asyncio.get_running_loop()
    until, is_last = loop.time() + NEW_NODE_PATIENCE, False
    while not await buffer.wait_for(set(claimed), LOOK) and not is_last:
        silent = [(room, move.old) for room, (_, move) in claimed.items() if room not in buffer.handovers]
        gone = await asyncio.gather(*(node.broker.is_gone(room, old) for room, old in silent))
        is_last = all(gone) or loop.time() > until


async def _fence_silent_nodes(
    session: Session,
    buffer: MigrationBuffer,
    claimed: Mapping[RoomId, tuple[Membership, MemberMoved]],
    received: int,
) -> None:
    """Fence the old nodes that have not handed over the session; what they still hand over is late."""
    silent = [room for room in claimed if buffer.handovers.get(room) is None and room not in session.rooms.removed]
    if not silent:
        return
    if not buffer.has_state:
        session.late = LateHandover(received, asyncio.get_running_loop().time())
    log.info("session taken over without handover", rooms=len(silent))
    await asyncio.gather(*(claimed[room][0].fence_owner() for room in silent), return_exceptions=True)


async def _claim(
    node: Node, session: Session, rooms: Sequence[tuple[str, str, str, bool]]
) -> tuple[dict[RoomId, tuple[Membership, MemberMoved]], dict[RoomId, Outgoing]]:
    """Claim memberships; return those that moved here, and what tells the client of its removal from others."""
    memberships: dict[RoomId, Membership] = {}
    for name, member, incarnation, presence in rooms:
        room, member_id = RoomId(name), PeerId(member) if session.kind is Kind.PEER else UserId(member)
        epoch, verified = session.generations.latest, session.identity.startswith(VERIFIED)
        with suppress(SignalingError):
            membership = node.claimed(room, session.kind, member_id, Incarnation(incarnation), epoch, verified=verified)
            membership.presence = presence
            memberships[room] = membership
    claims = [membership.claim(session) for membership in memberships.values()]
    claimed: dict[RoomId, tuple[Membership, MemberMoved]] = {}
    removals: dict[RoomId, Outgoing] = {}
    outcomes = await asyncio.gather(*claims, return_exceptions=True)
    for (room, membership), outcome in zip(memberships.items(), outcomes, strict=True):
        if isinstance(outcome, MemberMoved):
            claimed[room] = membership, outcome
        elif isinstance(outcome, Removal):
            session.rooms.remove(room, outcome)
            target, notice = Target(session.kind, membership.member_id), outcome.notice
            is_kick = outcome.how is LeaveReason.KICKED
            removals[room] = Outgoing(kicked(room, target, None, notice) if is_kick else closed(room, None, notice))
    return claimed, removals


def list_rooms(memberships: Mapping[RoomId, Membership]) -> list[tuple[str, str, str, bool]]:
    """Describe memberships, as in `SessionRecord.rooms`."""
    return [(str(room), str(one.member_id), str(one.incarnation), one.presence) for room, one in memberships.items()]


async def hand_over(session: Session, node: Node, *, stopped: bool = False) -> None:
    """Send the state of a session to the node that has claimed it. The session ends, unless it is in further rooms.

    Such a room was joined when the other node had read already which rooms to claim; it is told to claim them, too.
    `stopped`: this node receives nothing more, so that the other one must look for what came after; and such rooms are
    not left.
    """
    moved = {room: place for room, place in session.rooms.items() if room in (session.cutovers or ())}
    others = list_rooms(session.rooms.joined(except_for=moved)) if moved else []
    departed = [(room, membership, await membership.depart()) for room, membership in moved.items()]
    late = {room for room, _, known in departed if known and not stopped and await _any_lives(node, room, known.late)}
    state = None if session.ended else _state(session)
    for room, membership in moved.items():
        session.rooms.discard(room, membership)
    if stopped:
        session.rooms.clear()  # else it would leave those that are still to be claimed
    if stopped or not others:
        session.end(LeaveReason.DISCONNECTED)
    for room, membership, known in departed:
        if known is not None:
            offset = node.broker.offset(room) if stopped else ""
            membership.hand_over(room, known, Handover(known.state, state, offset, others, room in late))
            state, others = None, []


async def _any_lives(node: Node, room: RoomId, others: Sequence[NodeId]) -> bool:
    """Whether any of these nodes is connected to the broker."""
    for _ in range(LOOKS):
        if all(await asyncio.gather(*(node.broker.is_gone(room, one) for one in others))):
            return False
        await asyncio.sleep(LOOK)
    return True


def _state(session: Session) -> SessionState:
    """The state for the next node; it lacks messages that the previous node has not handed over yet."""
    late, state = session.late, structs.replace(session.replay.state(), removed=list(session.rooms.removed))
    if late is None or not late.is_expected(asyncio.get_running_loop().time()):
        return state
    return structs.replace(state, gap=state.number + 1)


async def persist(node: Node, session: Session) -> bytes:
    """End a session whose node has stopped, without leaving its rooms; return what the next node needs of it."""
    if not all(map(node.broker.is_settled, session.rooms)):
        session.replay.mark_gap()
    departed = [(room, await membership.depart()) for room, membership in list(session.rooms.items())]
    members = [Behind(room, known.state, node.broker.offset(room)) for room, known in departed if known is not None]
    left = LeftBehind(_state(session), members)
    session.rooms.clear()
    session.end(LeaveReason.DISCONNECTED)
    return handover.pack(left)
