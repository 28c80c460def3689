"""The contract of `Administration` as a test suite over every implementation. A subclass gives `broker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.broker.administration import NodeState, Outcome, RoomPage, RoomState, RoomSummary
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    Announced,
    JoinRefused,
    Kind,
    LeaveReason,
    MemberLeft,
    Moderated,
    Notice,
    RoomClosed,
    RoomLocked,
)
from mcp_actors.protocol.identifiers import PeerId, RoomId
from tests.broker.contract import MAX_ROOM_BANS, NODE, OTHER_ROOM, ROOM, RecordedBroker, Recorder

if TYPE_CHECKING:
    from mcp_actors.broker import Broker
    from mcp_actors.broker.administration import Administration
    from mcp_actors.protocol.events import Event

ANA, UMA = PeerId("ana"), PeerId("uma")
DONE, UNCHANGED = Outcome.DONE, Outcome.UNCHANGED
BAN = Notice("spam", "", 60)


def told(recorder: Recorder, room: RoomId = ROOM) -> list[Event]:
    """The events of the node other than joins."""
    return [event for event in recorder.events.get(room, []) if not type(event).__name__.endswith("Joined")]


class AdministrationContract(RecordedBroker):
    """The promises of every administration."""

    @pytest.fixture
    def admin(self, broker: Broker) -> Administration:
        return broker.administration

    async def test_rooms_are_listed_in_the_order_of_their_names_a_page_at_a_time(
        self, recorder: Recorder, admin: Administration
    ) -> None:
        assert await admin.list_rooms("", "", 10) == RoomPage([])
        names = [RoomId(name) for name in ("b", "a*", "ab", "a[", "ä", "a\\", "Z")]
        for name in names:
            await recorder.joins(Kind.PEER, "ana", room=name)
        await recorder.joins(Kind.USER, "uma", room=names[0])
        await admin.lock(names[0], locked=True)
        everything = await admin.list_rooms("", "", 10)
        assert [room.name for room in everything.rooms] == sorted(names)
        assert everything.rooms[-2] == RoomSummary(names[0], {NODE: 2}, 1, 1, locked=True)
        assert everything.rooms[0] == RoomSummary(RoomId("Z"), {NODE: 1}, 1, 0, locked=False)
        found, after = [], ""
        while True:
            page = await admin.list_rooms("", after, 3)
            found += [room.name for room in page.rooms]
            if page.next is None:
                break
            after = page.next
        assert found == sorted(names)
        for prefix in ("a", "a*", "a[", "a\\", "ä", "x"):
            page = await admin.list_rooms(prefix, "", 10)
            assert [room.name for room in page.rooms] == sorted(name for name in names if name.startswith(prefix))
        for name in names:
            recorder.broker.abandon(name)

    async def test_a_room_has_its_members_by_kind_and_order(self, recorder: Recorder, admin: Administration) -> None:
        assert await admin.room(ROOM) == RoomState([], locked=False)
        await recorder.joins(Kind.USER, "uma")
        for name in ("ben", "ana"):
            await recorder.joins(Kind.PEER, name)
        await recorder.joins(Kind.PEER, "zoe", room=OTHER_ROOM)
        found = await admin.room(ROOM)
        assert [(member.kind, member.id, member.order) for member in found.members] == [
            ("peer", "ben", 1),
            ("peer", "ana", 2),
            ("user", "uma", 1),
        ]
        assert {member.incarnation: member for member in found.members} == recorder.rosters[ROOM]
        assert not found.locked

    async def test_a_kick_removes_and_may_be_repeated(self, recorder: Recorder, admin: Administration) -> None:
        tabs = [await recorder.joins(Kind.USER, "uma") for _ in range(2)]
        await recorder.joins(Kind.PEER, "uma")
        assert await admin.kick(ROOM, Kind.USER, UMA, Notice("spam", "Stop it.")) is DONE
        assert await admin.kick(ROOM, Kind.USER, UMA) is UNCHANGED
        events = await recorder.wait_for_all()
        left = [event for event in events if isinstance(event, MemberLeft)]
        assert [(one.reason, one.notice.message) for one in left] == [(LeaveReason.KICKED, "Stop it.")] * len(tabs)
        assert not any(isinstance(event, Moderated) for event in events)

    async def test_a_ban_holds_for_a_member_and_for_an_id_that_is_not_there(
        self, recorder: Recorder, admin: Administration
    ) -> None:
        await recorder.joins(Kind.PEER, "ana")
        assert await admin.kick(ROOM, Kind.PEER, ANA, BAN) is DONE
        assert await admin.kick(ROOM, Kind.USER, UMA, BAN) is UNCHANGED
        for kind, name in ((Kind.PEER, "ana"), (Kind.USER, "uma")):
            refused = await recorder.joins(kind, name)
            assert isinstance(refused, JoinRefused)
            assert (refused.code, refused.notice.reason) == (ErrorCode.BANNED, "spam")
        found = await admin.bans(ROOM)
        assert {(ban.kind, ban.id, ban.by, ban.notice.reason) for ban in found} == {
            ("peer", "ana", "", "spam"),
            ("user", "uma", "", "spam"),
        }
        assert all(0 < ban.expires_in <= 60 for ban in found)
        assert await admin.unban(ROOM, Kind.PEER, ANA) is DONE
        assert await admin.unban(ROOM, Kind.PEER, ANA) is UNCHANGED
        assert not isinstance(await recorder.joins(Kind.PEER, "ana"), JoinRefused)

    async def test_bans_of_a_room_are_limited(self, admin: Administration) -> None:
        for number in range(MAX_ROOM_BANS):
            assert await admin.kick(ROOM, Kind.PEER, PeerId(f"p{number}"), BAN) is UNCHANGED
        assert await admin.kick(ROOM, Kind.PEER, ANA, BAN) is Outcome.FULL
        assert await admin.kick(ROOM, Kind.PEER, PeerId("p0"), BAN) is UNCHANGED
        assert len(await admin.bans(ROOM)) == MAX_ROOM_BANS

    async def test_a_lock_keeps_newcomers_out_and_may_be_repeated(
        self, recorder: Recorder, admin: Administration
    ) -> None:
        await recorder.joins(Kind.PEER, "ana")
        assert [await admin.lock(ROOM, locked=True) for _ in range(2)] == [DONE, UNCHANGED]
        assert isinstance(await recorder.joins(Kind.PEER, "ben"), JoinRefused)
        assert (await admin.room(ROOM)).locked
        assert [await admin.lock(ROOM, locked=False) for _ in range(2)] == [DONE, UNCHANGED]
        await recorder.joins(Kind.PEER, "ben")
        assert [event.locked for event in told(recorder) if isinstance(event, RoomLocked)] == [True, False]

    async def test_a_room_is_closed_and_may_be_closed_again(self, recorder: Recorder, admin: Administration) -> None:
        await recorder.joins(Kind.PEER, "ana")
        assert [await admin.close(ROOM, Notice("over")) for _ in range(2)] == [DONE, UNCHANGED]
        closed = [event for event in await recorder.wait_for_all() if isinstance(event, RoomClosed)]
        assert [event.notice.reason for event in closed] == ["over"]

    async def test_all_members_or_one_of_them_is_told_something(
        self, recorder: Recorder, admin: Administration
    ) -> None:
        assert await admin.announce(ROOM, "hello") is UNCHANGED
        await recorder.joins(Kind.PEER, "ana")
        assert await admin.announce(ROOM, {"text": ["é", 1, None]}) is DONE
        assert await admin.announce(ROOM, "hello", (Kind.PEER, ANA)) is DONE
        assert await admin.announce(ROOM, "hello", (Kind.USER, ANA)) is UNCHANGED
        assert await admin.announce(ROOM, "hello", (Kind.PEER, UMA)) is UNCHANGED
        events = [event for event in await recorder.wait_for_all() if isinstance(event, Announced)]
        assert [(event.content, event.to) for event in events] == [
            ({"text": ["é", 1, None]}, None),
            ("hello", (Kind.PEER, ANA)),
        ]

    async def test_there_is_nothing_to_change_in_an_empty_room(self, recorder: Recorder, admin: Administration) -> None:
        assert await admin.lock(ROOM, locked=True) is UNCHANGED
        assert await admin.close(ROOM) is UNCHANGED
        assert await admin.kick(ROOM, Kind.PEER, ANA) is UNCHANGED
        assert await admin.unban(ROOM, Kind.PEER, ANA) is UNCHANGED
        assert await admin.bans(ROOM) in ((), [])
        assert not isinstance(await recorder.joins(Kind.PEER, "ana"), JoinRefused)
        assert (await admin.room(ROOM)).locked is False


def live(nodes: object) -> list[str]:
    """The ids of nodes that are not dead."""
    assert isinstance(nodes, list)
    return [one.node for one in nodes if isinstance(one, NodeState) and one.lease_seconds is not None]
