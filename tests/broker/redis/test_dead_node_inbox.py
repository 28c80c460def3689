from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from mcp_actors.broker import Recovered
from mcp_actors.broker.redis.dead_node_inbox import BATCH, DeadNodeInbox
from mcp_actors.broker.redis.entries import (
    Announced,
    Frame,
    Joined,
    Left,
    Moved,
    OwnerFenced,
    Presence,
    RecoveryEnded,
    StoredMember,
    Updated,
    pack,
    pack_frames,
)
from mcp_actors.broker.redis.executor import Executor
from mcp_actors.broker.redis.offsets import END_OF_ENTRY, format_offset
from mcp_actors.protocol.events import (
    Kind,
    LeaveReason,
    Member,
    MemberMoved,
    MissedChange,
    NegotiationStep,
    Receipt,
    RemoteBroadcast,
    RemoteSignal,
)
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from tests.broker.redis.lua import A, B, C, Store, peer, user
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.broker.redis.write_queue import Call
    from tests.conftest import ExpectedLogs

ROOM = RoomId("room123")
DEAD = NodeId("m-4f2a-dead00ad")
ANA, BEN, UNA, VIC = peer("ana", DEAD), peer("ben", B), user("una", node=DEAD), user("vic", node=B)
MEMBERS = {one.incarnation: one for one in (ANA, BEN, UNA, VIC)}
SOON = 0.05
"""Seconds of patience where something will not come."""


class Inbox:
    """The inbox of a dead node, and its recovery by another for a member that moved to node A."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._name = store.keys.inbox(DEAD)
        self.calls = 0
        self.calls_made: list[Call] = []
        self.mute = False
        self.executor = Executor(self._call)
        self.executor.up.set()
        self.inbox = DeadNodeInbox(store.keys, DEAD, self.executor)

    def _call(self, call: Call) -> None:
        self.calls += 1
        self.calls_made.append(call)
        if self.mute:
            return
        with self._store.redis.pipeline(transaction=False) as pipeline:
            pipeline.set_response_callback("XRANGE", lambda reply, **_options: reply)
            pipeline.execute_command(*call.command)
            (reply,) = pipeline.execute(raise_on_error=False)
        call.answered(reply)

    def frames(self, *frames: Frame) -> str:
        """Write frames as one entry; its id is returned."""
        packed = pack_frames([pack(frame) for frame in frames])
        return str(self._store.redis.xadd(self._name, {"frames": packed}).decode())

    def changes(
        self,
        *changes: Joined | Left | Presence | Updated | Moved | OwnerFenced | RecoveryEnded | Announced,
        room: RoomId = ROOM,
    ) -> str:
        """Write changes of the room as one entry."""
        packed = pack(list(changes))
        fields = {"type": "changes", "room": room, "after": "1", "version": "2", "changes": packed}
        return str(self._store.redis.xadd(self._name, fields).decode())

    def snapshot(self, *members: Member) -> str:
        """Write a snapshot of the room as one entry."""
        packed = pack([StoredMember.of(member) for member in members])
        fields = {
            "type": "snapshot",
            "room": ROOM,
            "version": "3",
            "run": "1",
            "token": "",
            "lock": "0",
            "members": packed,
        }
        return str(self._store.redis.xadd(self._name, fields).decode())

    async def recover(
        self, offset: str, member: Member = ANA, *others: NodeId, patience: float = SOON, epoch: int = 1
    ) -> Recovered:
        """Recover what comes after an offset; all of `others` may still write."""
        move = MemberMoved(9, member.incarnation, DEAD, A, epoch, (DEAD, A, *others))
        return await self.inbox.recover(ROOM, member.kind, move, offset, patience, MEMBERS)


@pytest.fixture
def inbox(store: Store) -> Inbox:
    return Inbox(store)


def signal(
    number: int, *, delivery_id: int = 0, source: Member = BEN, target: Member = ANA, room: RoomId = ROOM
) -> Frame:
    body = b"%d" % number
    return Frame(room, source.incarnation, target.incarnation, number, "signal", delivery_id, body)


def message(number: int, target: Member = UNA, *, delivery_id: int = 0, source: Member = VIC) -> Frame:
    return Frame(ROOM, source.incarnation, target.incarnation, number, "broadcast", delivery_id, b"%d" % number)


def word(node: NodeId, target: Member = ANA, epoch: int = 1) -> Frame:
    return Frame(ROOM, node, target.incarnation, epoch, "cutover", 0, b"")


def heard(number: int, delivery_id: int = 0) -> RemoteSignal:
    return RemoteSignal(BEN.incarnation, ANA.incarnation, b"%d" % number, delivery_id)


def said(number: int, delivery_id: int = 0) -> RemoteBroadcast:
    return RemoteBroadcast(VIC.incarnation, UNA.incarnation, b"%d" % number, delivery_id)


def offset(entry: str, index: int = 0) -> str:
    return format_offset(entry.encode(), index, DEAD).decode()


async def test_signals_after_the_offset_are_recovered_and_earlier_ones_answered(inbox: Inbox) -> None:
    inbox.frames(signal(1, delivery_id=1))
    entry = inbox.frames(signal(2, delivery_id=2), signal(3, delivery_id=3))
    inbox.frames(signal(4, delivery_id=4))
    found = await inbox.recover(offset(entry, 0))
    assert found == Recovered([heard(3, 3), heard(4, 4)], [heard(1, 1), heard(2, 2)], known=True, whole=True)


async def test_receipts_after_the_offset_are_recovered(inbox: Inbox) -> None:
    def receipt(number: int) -> Frame:
        return Frame(ROOM, BEN.incarnation, ANA.incarnation, 0, "receipt", number, b"1")

    entry = inbox.frames(receipt(1))
    inbox.frames(receipt(2), Frame(ROOM, BEN.incarnation, UNA.incarnation, 0, "receipt", 3, b"1"))
    found = await inbox.recover(offset(entry))
    assert found.receipts == (Receipt(ANA.incarnation, BEN.incarnation, 2, delivered=True),)


async def test_an_offset_at_the_end_of_an_entry_recovers_later_entries_only(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1), signal(2))
    inbox.frames(signal(3))
    assert (await inbox.recover(offset(entry, END_OF_ENTRY))).events == [heard(3)]


@pytest.mark.parametrize("text", ["", "1-1.0@other", "nonsense"])
async def test_without_an_offset_nothing_is_recovered(inbox: Inbox, text: str) -> None:
    inbox.frames(signal(1, delivery_id=1))
    found = await inbox.recover(text)
    assert found == Recovered([], [heard(1, 1)], known=False, whole=False)


async def test_a_trimmed_offset_is_not_known(inbox: Inbox, store: Store) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2))
    store.redis.xtrim(store.keys.inbox(DEAD), maxlen=1, approximate=False)
    found = await inbox.recover(offset(entry))
    assert (found.known, found.whole, found.events) == (False, False, [])


async def test_a_deleted_inbox_is_not_complete(inbox: Inbox) -> None:
    found = await inbox.recover("1-1.0@dead00ad")
    assert (found.known, found.whole) == (False, False)


async def test_frames_for_other_members_or_rooms_are_ignored(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(1, target=UNA), signal(2, room=RoomId("another")), message(1))
    assert (await inbox.recover(offset(entry))).events == []


async def test_a_frame_that_was_written_twice_is_recovered_once(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(1), signal(2))
    inbox.frames(signal(2), signal(3))
    assert (await inbox.recover(offset(entry))).events == [heard(2), heard(3)]


async def test_the_step_of_a_signal_is_recovered_with_it(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(structs.replace(signal(2), step=NegotiationStep("offer", 5)))
    (event,) = (await inbox.recover(offset(entry))).events
    assert isinstance(event, RemoteSignal)
    assert event.step == NegotiationStep("offer", 5)


async def test_many_entries_are_read_in_batches_and_none_twice(inbox: Inbox) -> None:
    first = inbox.frames(signal(1))
    for number in range(2, BATCH + 10):
        inbox.frames(signal(number))
    assert len((await inbox.recover(offset(first))).events) == BATCH + 8
    assert inbox.calls == 2
    inbox.frames(signal(BATCH + 10))
    assert len((await inbox.recover(offset(first))).events) == BATCH + 9
    assert inbox.calls == 3


async def test_several_members_recover_from_one_inbox_at_once(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2), message(1))
    ana, una = await asyncio.gather(inbox.recover(offset(entry)), inbox.recover(offset(entry), UNA))
    assert (ana.events, una.events) == ([heard(2)], [said(1)])
    assert inbox.calls == 2


async def test_frames_written_before_the_cutover_are_waited_for(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    recovering = asyncio.ensure_future(inbox.recover(offset(entry), ANA, B, C, patience=5.0))
    inbox.frames(word(C))
    inbox.frames(signal(2), word(B))
    assert await recovering == Recovered([heard(2)], [heard(1)], known=True, whole=True)


async def test_a_missing_cutover_is_waited_for_until_the_patience_ends(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2), word(C))
    found = await inbox.recover(offset(entry), ANA, B, C)
    assert (found.events, found.known, found.whole) == ([heard(2)], True, False)


@pytest.mark.parametrize("other", [word(B, UNA), word(B, ANA, 1)], ids=["of another", "of an earlier move"])
async def test_a_cutover_of_another_move_does_not_count(inbox: Inbox, other: Frame) -> None:
    entry = inbox.frames(signal(1), other)
    assert not (await inbox.recover(offset(entry), ANA, B, epoch=2)).whole


async def test_a_silent_node_is_not_waited_for(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(moved(ANA, 1, C))
    inbox.frames(word(B))
    assert (await inbox.recover(offset(entry), ANA, B, C)).whole
    assert not (await inbox.recover(offset(entry), ANA, B, C, epoch=2)).whole


async def test_no_time_passes_while_the_link_is_down(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(signal(2), word(B))
    inbox.mute = True
    recovering = asyncio.ensure_future(inbox.recover(offset(entry), ANA, B))
    while not inbox.calls:
        await asyncio.sleep(0)
    inbox.executor.up.clear()
    inbox.calls_made[-1].dropped()
    inbox.mute = False
    await asyncio.sleep(3 * SOON)
    assert not recovering.done()
    inbox.executor.up.set()
    assert await recovering == Recovered([heard(2)], [heard(1)], known=True, whole=True)


async def test_a_read_without_a_reply_ends_with_the_patience(store: Store) -> None:
    executor = Executor(lambda _call: None)
    executor.up.set()
    inbox = DeadNodeInbox(store.keys, DEAD, executor)
    move = MemberMoved(9, ANA.incarnation, DEAD, A, 1, (DEAD, A))
    found = await inbox.recover(ROOM, Kind.PEER, move, "1-1.0@dead00ad", SOON, MEMBERS)
    assert (found.known, found.whole) == (False, False)


async def test_a_broadcast_is_recovered_for_every_user_and_answered_by_its_target(inbox: Inbox) -> None:
    entry = inbox.frames(message(1, delivery_id=1))
    another = user("uwe", node=DEAD)
    inbox.frames(message(2, delivery_id=2), message(1, another, delivery_id=3))
    found = await inbox.recover(offset(entry), UNA)
    assert (found.events, found.answered) == ([said(2, 2), said(1)], [said(1, 1)])


async def test_a_broadcast_is_not_recovered_for_a_peer_or_its_sender(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.frames(message(1), message(1, source=UNA))
    assert (await inbox.recover(offset(entry), ANA)).events == []
    assert (await inbox.recover(offset(entry), UNA)).events == [said(1)]


async def test_a_broadcast_after_the_cutover_is_not_recovered(inbox: Inbox) -> None:
    entry = inbox.frames(message(1))
    inbox.frames(message(2), word(B, UNA), message(3))
    assert (await inbox.recover(offset(entry), UNA, B)).events == [said(2)]


async def test_a_broadcast_after_the_cutover_is_not_recovered_although_its_sender_has_moved_since(inbox: Inbox) -> None:
    entry = inbox.changes(joined(structs.replace(VIC, node=C)))
    inbox.frames(word(C, UNA), message(1))
    inbox.changes(Moved(VIC.incarnation, B, 1))
    assert (await inbox.recover(offset(entry), UNA, C)).events == []


async def test_a_signal_of_a_peer_that_has_left_is_not_recovered(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(Left(BEN.incarnation, LeaveReason.LEFT, Kind.PEER, "ben"))
    inbox.frames(signal(2))
    left = MissedChange(PeerId("ben"), reason=LeaveReason.LEFT)
    assert (await inbox.recover(offset(entry), ANA)).events == [left]
    inbox.changes(joined(BEN))
    inbox.frames(signal(3))
    assert (await inbox.recover(offset(entry), ANA)).events == [left, MissedChange(PeerId("ben"), BEN), heard(3)]


@pytest.mark.parametrize("how", ["change", "snapshot", "move"])
async def test_nothing_from_before_the_member_came_is_recovered_whatever_the_offset(inbox: Inbox, how: str) -> None:
    early = inbox.frames(message(1))
    inbox.changes(joined(BEN))
    if how == "snapshot":
        arrival = inbox.snapshot(UNA, VIC)
    else:
        arrival = inbox.changes(joined(UNA) if how == "change" else Moved(UNA.incarnation, DEAD, 1))
    inbox.frames(message(2))
    inbox.snapshot(UNA, VIC)
    forged = await inbox.recover(offset(early), UNA, epoch=2)
    assert (forged.events, forged.known, forged.whole) == ([said(2)], True, False)
    honest = await inbox.recover(offset(arrival), UNA, epoch=2)
    assert (honest.events, honest.whole) == ([said(2)], True)


def joined(member: Member) -> Joined:
    return Joined(StoredMember.of(member))


def left(member: Member, reason: LeaveReason = LeaveReason.LEFT) -> Left:
    return Left(member.incarnation, reason, member.kind, member.id)


def presence(member: Member, *, detached: bool = True) -> Presence:
    return Presence(member.incarnation, detached, member.kind, member.id)


def moved(member: Member = ANA, epoch: int = 1, *silent: NodeId) -> Moved:
    return Moved(member.incarnation, A, epoch, silent)


def updated(member: Member) -> Updated:
    return Updated(member.kind, member.id, '{"a":1}', 5, member.incarnation)


ZOE = peer("zoe", C, order=3, color="red")


async def test_changes_of_peers_after_the_offset_are_recovered_in_order(inbox: Inbox) -> None:
    entry = inbox.changes(joined(BEN))
    inbox.changes(joined(ZOE), presence(ZOE))
    inbox.changes(updated(ZOE), presence(ZOE, detached=False), left(ZOE, LeaveReason.TIMEOUT))
    assert (await inbox.recover(offset(entry))).events == [
        MissedChange(PeerId("zoe"), ZOE),
        MissedChange(PeerId("zoe"), detached=True),
        MissedChange(PeerId("zoe"), metadata={"a": 1}),
        MissedChange(PeerId("zoe"), detached=False),
        MissedChange(PeerId("zoe"), reason=LeaveReason.TIMEOUT),
    ]


async def test_changes_of_users_and_of_the_member_itself_are_ignored(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(joined(VIC), left(VIC), presence(ANA), presence(ANA, detached=False), presence(UNA))
    inbox.changes(updated(VIC), updated(ANA))
    assert (await inbox.recover(offset(entry))).events == []


async def test_changes_after_the_move_are_ignored(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(joined(ZOE), OwnerFenced(BEN.incarnation, 2), RecoveryEnded(BEN.incarnation, 2))
    inbox.changes(moved(UNA), moved(ANA, 3), moved(ANA, 4))
    inbox.changes(left(ZOE))
    inbox.frames(signal(2))
    assert (await inbox.recover(offset(entry), epoch=4)).events == [MissedChange(PeerId("zoe"), ZOE), heard(2)]


async def test_changes_in_another_room_are_ignored(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(joined(ZOE), room=RoomId("another"))
    assert (await inbox.recover(offset(entry))).events == []


async def test_probes_are_ignored(inbox: Inbox, store: Store) -> None:
    entry = inbox.frames(signal(1))
    store.redis.xadd(store.keys.inbox(DEAD), {"type": "probe", "number": "1"})
    assert (await inbox.recover(offset(entry))).events == []


async def test_an_inbox_that_cannot_be_read_is_not_taken_for_an_empty_one(
    store: Store, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "inbox of a dead node cannot be read")
    inbox = Inbox(store)
    store.redis.set(store.keys.inbox(DEAD), "something else")
    move = MemberMoved(11, ANA.incarnation, A, DEAD, 1, ())
    found = await inbox.inbox.recover(ROOM, Kind.PEER, move, "", SOON, MEMBERS)
    assert not found.whole
    assert inbox.calls > 1
    assert len(expected_logs.records) == 1


async def test_less_is_read_at_once_after_the_link_broke(store: Store) -> None:
    inbox = Inbox(store)
    inbox.mute = True
    move = MemberMoved(11, ANA.incarnation, A, DEAD, 1, ())
    recovering = asyncio.create_task(inbox.inbox.recover(ROOM, Kind.PEER, move, "", 5.0, MEMBERS))
    for expected in (BATCH, BATCH // 2, BATCH // 4):
        await until(lambda: inbox.calls_made, "that it is read")
        call = inbox.calls_made.pop()
        assert call.command[-1] == expected
        call.dropped()
    recovering.cancel()
    await asyncio.gather(recovering, return_exceptions=True)


async def test_what_the_application_told_another_member_is_not_recovered(inbox: Inbox) -> None:
    entry = inbox.frames(signal(1))
    inbox.changes(
        Announced('"to all"'),
        Announced('"to ben"', "peer", "ben"),
        Announced('"to user ana"', "user", "ana"),
        Announced('"to ana"', "peer", "ana"),
    )
    found = [one.announced for one in (await inbox.recover(offset(entry))).events if isinstance(one, MissedChange)]
    assert found == [("to all",), ("to ana",)]
