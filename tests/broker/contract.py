"""The contract of `Broker` as a test suite that runs over every implementation.

The tests of an implementation subclass `BrokerContract` and add a `broker` fixture. Events may arrive after the call,
so every expected event is awaited; that nothing else arrives is known once a later request for the room is done.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import strategies as st
from msgspec import structs

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    Announced,
    JoinRefused,
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    MemberUpdated,
    Moderated,
    Notice,
    PresenceChanged,
    RoomClosed,
    RoomLocked,
    Unsubscribed,
)
from mcp_actors.protocol.identifiers import SERVER, Incarnation, NodeId, PeerId, RoomId
from tests.support.loop import DEADLINE, until

if TYPE_CHECKING:
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import Event

ROOM = RoomId("room123")
OTHER_ROOM = RoomId("room456")
NODE = NodeId("node")
CAPACITY = 1000
MAX_ROOM_BANS = 4
"""The bans of a room that the brokers of this suite allow."""


class Recorder:
    """The listener of one node: it records the events of each room in order, and the rosters that follow from them."""

    def __init__(self, broker: Broker, node: NodeId = NODE) -> None:
        self.broker = broker
        self.node = node
        self.unsubscribed = 0
        self.events: dict[RoomId, list[Event]] = {}
        self.rosters: dict[RoomId, dict[Incarnation, Member]] = {}
        self._names = count(1)
        broker.listen(self.receive)

    def receive(self, room: RoomId, event: Event) -> None:
        """Record an event."""
        roster = self.rosters.setdefault(room, {})
        match event:
            case MemberJoined():
                roster[event.member.incarnation] = event.member
            case MemberLeft():
                roster.pop(event.incarnation, None)
            case PresenceChanged():
                roster[event.incarnation] = structs.replace(roster[event.incarnation], detached=event.detached)
            case MemberUpdated():
                for one in [one for one in roster.values() if (one.kind, one.id) == (event.kind, event.id)]:
                    roster[one.incarnation] = structs.replace(one, metadata=event.metadata, updated=event.version)
            case MemberMoved():
                known = roster[event.incarnation]
                roster[event.incarnation] = structs.replace(known, node=event.node, epoch=event.epoch)
            case RoomClosed():
                roster.clear()
            case Unsubscribed():
                roster.clear()
                self.unsubscribed += 1
                return
        self.events.setdefault(room, []).append(event)

    def join(
        self,
        kind: Kind,
        name: str,
        *,
        room: RoomId = ROOM,
        capacity: int = CAPACITY,
        verified: bool = False,
        moderator: bool = False,
        address: str = "",
    ) -> Incarnation:
        """Request that a new incarnation joins."""
        member = structs.replace(self.member(kind, name, verified=verified), address=address)
        self.broker.join(room, member, capacity, moderator=moderator)
        return member.incarnation

    def member(self, kind: Kind, name: str, *, verified: bool = False) -> Member:
        """A new incarnation, with its id in its metadata."""
        incarnation = Incarnation(f"{self.node}.{next(self._names)}")
        return Member(kind, PeerId(name), incarnation, self.node, {"incarnation": incarnation}, verified=verified)

    def leave(self, incarnation: Incarnation, *, room: RoomId = ROOM, reason: LeaveReason = LeaveReason.LEFT) -> None:
        """Request that an incarnation leaves."""
        self.broker.leave(room, incarnation, reason)

    async def moderated(self, number: int, *, room: RoomId = ROOM) -> Moderated:
        """The outcome of the request of a member with this number, from 0."""
        await until(lambda: len(self._outcomes(room)) > number, f"outcome {number} in {room}")
        return self._outcomes(room)[number]

    def _outcomes(self, room: RoomId) -> list[Moderated]:
        return [event for event in self.events.get(room, []) if isinstance(event, Moderated)]

    async def joins(self, kind: Kind, name: str, *, room: RoomId = ROOM, **how: Any) -> MemberJoined | JoinRefused:
        """The outcome of the join of a new incarnation."""
        incarnation = self.join(kind, name, room=room, **how)

        def outcomes() -> list[MemberJoined | JoinRefused]:
            told = [event for event in self.events.get(room, []) if isinstance(event, MemberJoined | JoinRefused)]
            return [event for event in told if subject(event) == incarnation]

        await until(outcomes, f"the outcome of the join of {name}")
        return outcomes()[0]

    async def wait_for(self, number: int, *, room: RoomId = ROOM) -> list[Event]:
        """The events of a room, once there are this many."""
        await until(lambda: len(self.events.get(room, [])) >= number, f"{number} events of {room}")
        return list(self.events[room])

    async def wait_for_all(self, *, room: RoomId = ROOM) -> list[Event]:
        """The events of a room after all earlier requests, which a last join follows."""
        last = self.join(Kind.USER, "last", room=room, moderator=True)
        await until(lambda: self.position(room, last) is not None, f"the last join of {room}")
        position = cast("int", self.position(room, last))
        return self.events[room][:position]

    def position(self, room: RoomId, incarnation: Incarnation) -> int | None:
        """The index of the join of an incarnation among the events of a room."""
        for position, event in enumerate(self.events.get(room, [])):
            if isinstance(event, MemberJoined) and event.member.incarnation == incarnation:
                return position
        return None


def subject(event: MemberJoined | JoinRefused) -> Incarnation:
    """The member that a join is about."""
    return event.incarnation if isinstance(event, JoinRefused) else event.member.incarnation


def joined(event: Event) -> MemberJoined:
    """Check that an event is a join."""
    assert isinstance(event, MemberJoined)
    return event


def summary(events: list[Event]) -> list[tuple[str, Incarnation]]:
    """The joins, refusals and leaves of a list of events."""
    said = []
    for event in events:
        if isinstance(event, MemberJoined):
            said.append(("MemberJoined", event.member.incarnation))
        elif isinstance(event, MemberLeft | JoinRefused):
            said.append((type(event).__name__, event.incarnation))
    return said


class RecordedBroker:
    """A contract over a broker, which a subclass provides as the fixture `broker`."""

    @pytest.fixture
    def recorder(self, broker: Broker) -> Recorder:
        return Recorder(broker)


class BrokerContract(RecordedBroker):
    """The promises of every broker."""

    async def test_a_join_is_emitted_with_the_member_as_given(self, recorder: Recorder) -> None:
        member = recorder.member(Kind.PEER, "ana")
        recorder.broker.join(ROOM, member, CAPACITY)
        (event,) = await recorder.wait_for(1)
        heard = joined(event).member
        assert (heard.kind, heard.id, heard.incarnation) == (Kind.PEER, "ana", member.incarnation)
        assert (heard.node, heard.metadata) == (NODE, {"incarnation": member.incarnation})

    @pytest.mark.parametrize("reason", LeaveReason)
    async def test_a_leave_is_emitted_with_its_reason(self, recorder: Recorder, reason: LeaveReason) -> None:
        ana = recorder.join(Kind.PEER, "ana")
        recorder.leave(ana, reason=reason)
        event = (await recorder.wait_for(2))[1]
        assert isinstance(event, MemberLeft)
        assert (event.incarnation, event.reason) == (ana, reason)

    async def test_events_come_in_the_order_of_the_requests(self, recorder: Recorder) -> None:
        expected = []
        for number in range(20):
            incarnation = recorder.join(Kind(["peer", "user"][number % 2]), f"m{number}")
            expected.append(("MemberJoined", incarnation))
            if number % 3 == 0:
                recorder.leave(incarnation)
                expected.append(("MemberLeft", incarnation))
        assert summary(await recorder.wait_for_all()) == expected

    async def test_versions_rise_by_one_with_each_event(self, recorder: Recorder) -> None:
        recorder.join(Kind.USER, "anchor")
        ana = recorder.join(Kind.PEER, "ana")
        recorder.join(Kind.PEER, "ana")
        recorder.leave(Incarnation("nobody"))
        recorder.leave(ana)
        recorder.join(Kind.PEER, "ana")
        events = await recorder.wait_for_all()
        versions = [event.version for event in events if isinstance(event, MemberJoined | MemberLeft)]
        assert versions == list(range(versions[0], versions[0] + 4))
        assert versions[0] > 0

    async def test_versions_of_a_room_that_starts_again_are_higher_than_before(self, recorder: Recorder) -> None:
        first = recorder.join(Kind.PEER, "a")
        recorder.leave(first)
        recorder.leave(recorder.join(Kind.PEER, "b", room=OTHER_ROOM), room=OTHER_ROOM)
        recorder.join(Kind.PEER, "c")
        *_, last, again = await recorder.wait_for(3)
        assert isinstance(last, MemberLeft)
        assert isinstance(again, MemberJoined)
        assert again.version > last.version

    async def test_rooms_have_versions_of_their_own(self, recorder: Recorder) -> None:
        for _ in range(3):
            for room in (ROOM, OTHER_ROOM):
                recorder.join(Kind.USER, "uma", room=room)
        for room in (ROOM, OTHER_ROOM):
            versions = [joined(event).version for event in await recorder.wait_for(3, room=room)]
            assert versions == list(range(versions[0], versions[0] + 3))

    async def test_rooms_are_separate(self, recorder: Recorder) -> None:
        here, there = recorder.join(Kind.PEER, "ana"), recorder.join(Kind.PEER, "ana", room=OTHER_ROOM)
        recorder.leave(here, room=OTHER_ROOM)
        assert summary(await recorder.wait_for_all()) == [("MemberJoined", here)]
        assert summary(await recorder.wait_for_all(room=OTHER_ROOM)) == [("MemberJoined", there)]

    async def test_the_last_leave_unsubscribes_from_the_room(self, recorder: Recorder) -> None:
        ana, uma = recorder.join(Kind.PEER, "ana"), recorder.join(Kind.USER, "uma")
        recorder.leave(ana)
        await recorder.wait_for(3)
        assert not recorder.unsubscribed
        recorder.leave(uma)
        await until(lambda: recorder.unsubscribed, "the end of the room")

    async def test_an_abandoned_room_loses_its_members_and_starts_again(self, recorder: Recorder) -> None:
        for name in ("ana", "ben"):
            recorder.join(Kind.PEER, name)
        await recorder.wait_for(2)
        recorder.broker.abandon(ROOM)
        again = recorder.join(Kind.PEER, "ana")
        await until(lambda: ("MemberJoined", again) in summary(recorder.events[ROOM]), "the join after it")
        before = recorder.events[ROOM][: summary(recorder.events[ROOM]).index(("MemberJoined", again))]
        assert {joined(event).member.incarnation for event in before[:2]} == {"node.1", "node.2"}

    async def test_it_is_ready_and_reports_its_health(self, recorder: Recorder) -> None:
        assert recorder.broker.ready
        assert "broker" in recorder.broker.health()

    async def test_a_peer_id_is_unique_in_its_room(self, recorder: Recorder) -> None:
        recorder.join(Kind.PEER, "ana")
        second = recorder.join(Kind.PEER, "ana")
        events = await recorder.wait_for_all()
        assert events[1:] == [JoinRefused(second, ErrorCode.PEER_ID_TAKEN)]

    @pytest.mark.parametrize("verified", [True, False], ids=["its own", "a claimed"])
    async def test_the_owner_of_an_id_replaces_another_peer_in_one_version(
        self, recorder: Recorder, verified: bool
    ) -> None:
        first = recorder.join(Kind.PEER, "ana", verified=verified)
        second = recorder.join(Kind.PEER, "ana", verified=True, capacity=1)
        events = await recorder.wait_for_all()
        left, entered = events[1], joined(events[2])
        assert left == MemberLeft(entered.version, first, LeaveReason.REPLACED)
        assert (entered.member.incarnation, entered.member.verified) == (second, True)

    async def test_a_session_that_may_replace_itself_takes_its_id_again_and_no_other_session_does(
        self, recorder: Recorder
    ) -> None:
        member = recorder.member(Kind.PEER, "ana")
        first, second, rival, late = (
            structs.replace(member, incarnation=Incarnation(name)) for name in ("~a.1", "~a.2", "~b.3", "a.4")
        )
        for one in (first, second, rival, late):
            recorder.broker.join(ROOM, one, 1)
        events = await recorder.wait_for_all()
        entered = joined(events[2])
        assert events[1] == MemberLeft(entered.version, first.incarnation, LeaveReason.REPLACED)
        assert entered.member.incarnation == second.incarnation
        refused = [JoinRefused(one.incarnation, ErrorCode.PEER_ID_TAKEN) for one in (rival, late)]
        assert events[3:] == refused

    @pytest.mark.parametrize("verified", [True, False], ids=["an owner", "a claimer"])
    async def test_a_claimed_id_replaces_nobody_even_if_detached(self, recorder: Recorder, verified: bool) -> None:
        owner = recorder.join(Kind.PEER, "ana", verified=verified)
        recorder.broker.set_presence(ROOM, owner, detached=True)
        claimed = recorder.join(Kind.PEER, "ana")
        events = await recorder.wait_for_all()
        assert events[2:] == [JoinRefused(claimed, ErrorCode.PEER_ID_TAKEN)]

    async def test_the_owner_of_a_user_id_replaces_all_that_claim_it_in_one_version(self, recorder: Recorder) -> None:
        claims = [recorder.join(Kind.USER, "ana") for _ in range(2)]
        owner = recorder.join(Kind.USER, "ana", verified=True, capacity=2)
        events = await recorder.wait_for_all()
        entered = joined(events[4])
        assert sorted(summary(events[2:4])) == sorted(("MemberLeft", one) for one in claims)
        assert {event.version for event in events[2:4] if isinstance(event, MemberLeft)} == {entered.version}
        assert (entered.member.incarnation, entered.member.metadata) == (owner, {"incarnation": owner})

    async def test_a_user_id_cannot_be_claimed_while_its_owner_is_there(self, recorder: Recorder) -> None:
        owner = recorder.join(Kind.USER, "ana", verified=True)
        claims = [recorder.join(Kind.USER, "ana")]
        recorder.broker.set_presence(ROOM, owner, detached=True)
        claims.append(recorder.join(Kind.USER, "ana"))
        second = recorder.join(Kind.USER, "ana", verified=True)
        recorder.leave(owner)
        claims.append(recorder.join(Kind.USER, "ana"))
        recorder.leave(second)
        free = recorder.join(Kind.USER, "ana")
        events = await recorder.wait_for_all()
        refused = [event for event in events if isinstance(event, JoinRefused)]
        assert refused == [JoinRefused(one, ErrorCode.PEER_ID_TAKEN) for one in claims]
        assert summary(events)[-1] == ("MemberJoined", free)

    async def test_a_peer_id_is_free_again_when_its_peer_left(self, recorder: Recorder) -> None:
        recorder.join(Kind.USER, "anchor")
        first = recorder.join(Kind.PEER, "ana")
        recorder.leave(first)
        second = recorder.join(Kind.PEER, "ana")
        assert summary(await recorder.wait_for_all())[-1] == ("MemberJoined", second)

    async def test_a_user_may_join_several_times_and_have_the_id_of_a_peer(self, recorder: Recorder) -> None:
        members = [recorder.join(Kind.PEER, "ana"), recorder.join(Kind.USER, "ana"), recorder.join(Kind.USER, "ana")]
        assert summary(await recorder.wait_for_all()) == [("MemberJoined", member) for member in members]

    @pytest.mark.parametrize("kind", Kind)
    async def test_the_capacity_limits_the_members_of_each_kind(self, recorder: Recorder, kind: Kind) -> None:
        other = Kind.USER if kind is Kind.PEER else Kind.PEER
        for name in ("x", "y"):
            recorder.join(other, name, capacity=2)
        members = [recorder.join(kind, name, capacity=2) for name in ("a", "b", "c")]
        events = await recorder.wait_for_all()
        assert summary(events[2:4]) == [("MemberJoined", member) for member in members[:2]]
        assert events[4:] == [JoinRefused(members[2], ErrorCode.ROOM_FULL)]

    async def test_every_connection_of_a_user_counts_as_a_member(self, recorder: Recorder) -> None:
        recorder.join(Kind.USER, "uma", capacity=1)
        second = recorder.join(Kind.USER, "uma", capacity=1)
        assert (await recorder.wait_for_all())[1:] == [JoinRefused(second, ErrorCode.ROOM_FULL)]

    async def test_a_leave_frees_a_place(self, recorder: Recorder) -> None:
        recorder.join(Kind.USER, "anchor")
        first = recorder.join(Kind.PEER, "a", capacity=1)
        recorder.leave(first)
        second = recorder.join(Kind.PEER, "b", capacity=1)
        assert summary(await recorder.wait_for_all())[-1] == ("MemberJoined", second)

    async def test_a_refused_member_is_not_in_the_room(self, recorder: Recorder) -> None:
        first = recorder.join(Kind.PEER, "ana")
        refused = recorder.join(Kind.PEER, "ana")
        recorder.leave(refused)
        third = recorder.join(Kind.PEER, "ana")
        assert summary(await recorder.wait_for_all()) == [
            ("MemberJoined", first),
            ("JoinRefused", refused),
            ("JoinRefused", third),
        ]

    async def test_a_repeated_join_changes_nothing(self, recorder: Recorder) -> None:
        for kind in Kind:
            member = recorder.member(kind, "ana")
            for _ in range(3):
                recorder.broker.join(ROOM, member, CAPACITY)
        assert [name for name, _ in summary(await recorder.wait_for_all())] == ["MemberJoined", "MemberJoined"]

    async def test_a_repeated_join_takes_one_place(self, recorder: Recorder) -> None:
        member = recorder.member(Kind.PEER, "a")
        for _ in range(2):
            recorder.broker.join(ROOM, member, 2)
        second = recorder.join(Kind.PEER, "b", capacity=2)
        assert summary(await recorder.wait_for_all())[-1] == ("MemberJoined", second)

    async def test_a_repeated_leave_changes_nothing(self, recorder: Recorder) -> None:
        recorder.join(Kind.USER, "anchor")
        ana = recorder.join(Kind.PEER, "ana")
        for _ in range(3):
            recorder.leave(ana)
        assert [name for name, _ in summary(await recorder.wait_for_all())] == [
            "MemberJoined",
            "MemberJoined",
            "MemberLeft",
        ]

    async def test_a_leave_of_an_unknown_member_has_no_effect(self, recorder: Recorder) -> None:
        recorder.leave(Incarnation("nobody"))
        ana = recorder.join(Kind.PEER, "ana")
        recorder.leave(Incarnation("nobody"))
        assert summary(await recorder.wait_for_all()) == [("MemberJoined", ana)]

    async def test_a_late_leave_of_an_earlier_incarnation_does_not_remove_the_later_one(
        self, recorder: Recorder
    ) -> None:
        recorder.join(Kind.USER, "anchor")
        old = recorder.join(Kind.PEER, "ana")
        recorder.leave(old)
        recorder.join(Kind.PEER, "ana")
        recorder.leave(old)
        rival = recorder.join(Kind.PEER, "ana")
        events = await recorder.wait_for_all()
        assert [name for name, _ in summary(events)].count("MemberLeft") == 1
        assert events[-1] == JoinRefused(rival, ErrorCode.PEER_ID_TAKEN)

    async def test_one_connection_of_a_user_leaves_without_the_others(self, recorder: Recorder) -> None:
        first, second = recorder.join(Kind.USER, "uma"), recorder.join(Kind.USER, "uma")
        recorder.leave(first)
        assert summary(await recorder.wait_for_all()) == [
            ("MemberJoined", first),
            ("MemberJoined", second),
            ("MemberLeft", first),
        ]

    async def test_order_counts_the_joins_of_each_kind(self, recorder: Recorder) -> None:
        for number, kind in enumerate((Kind.PEER, Kind.USER, Kind.USER, Kind.PEER, Kind.USER)):
            recorder.join(kind, f"m{number}")
        orders = [(joined(event).member.kind, joined(event).member.order) for event in await recorder.wait_for_all()]
        assert orders == [("peer", 1), ("user", 1), ("user", 2), ("peer", 2), ("user", 3)]

    async def test_order_rises_over_leaves_and_skips_refusals(self, recorder: Recorder) -> None:
        recorder.join(Kind.USER, "anchor")
        ana = recorder.join(Kind.PEER, "ana")
        recorder.join(Kind.PEER, "ana")
        recorder.leave(ana)
        recorder.join(Kind.PEER, "ben")
        events = await recorder.wait_for_all()
        assert [joined(event).member.order for event in (events[1], events[-1])] == [1, 2]

    async def test_order_starts_again_after_the_room_was_empty(self, recorder: Recorder) -> None:
        for _ in range(2):
            members = [
                recorder.join(Kind.PEER, "ana"),
                recorder.join(Kind.PEER, "ben"),
                recorder.join(Kind.USER, "uma"),
            ]
            for member in members:
                recorder.leave(member)
        recorder.join(Kind.PEER, "ana")
        events = await recorder.wait_for_all()
        orders = [event.member.order for event in events if isinstance(event, MemberJoined)]
        assert orders == [1, 2, 1, 1, 2, 1, 1]

    async def test_order_goes_on_while_a_member_of_either_kind_is_there(self, recorder: Recorder) -> None:
        ana = recorder.join(Kind.PEER, "ana")
        recorder.join(Kind.USER, "uma")
        recorder.leave(ana)
        recorder.join(Kind.PEER, "ana")
        assert joined((await recorder.wait_for_all())[-1]).member.order == 2

    async def test_a_kicked_peer_leaves_before_the_outcome_is_emitted(self, recorder: Recorder) -> None:
        mo, ana = recorder.join(Kind.USER, "mo"), recorder.join(Kind.PEER, "ana")
        recorder.join(Kind.USER, "ana")
        await recorder.wait_for(3)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"))
        version = joined((await recorder.wait_for(3))[2]).version
        assert (await recorder.wait_for_all())[3:] == [
            MemberLeft(version + 1, ana, LeaveReason.KICKED),
            Moderated(mo, done=True),
        ]

    @pytest.mark.parametrize("name", ["uma", 'u"m\\a', "ümä", "u,true]"])
    async def test_all_connections_of_a_user_are_kicked_in_one_version(self, recorder: Recorder, name: str) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        tabs = {recorder.join(Kind.USER, name) for _ in range(3)}
        recorder.join(Kind.USER, f"{name}2")
        recorder.join(Kind.PEER, name)
        await recorder.wait_for(6)
        recorder.broker.kick(ROOM, mo, Kind.USER, PeerId(name))
        *left, done = (await recorder.wait_for_all())[6:]
        assert {event.incarnation for event in left if isinstance(event, MemberLeft)} == tabs
        assert len({event.version for event in left if isinstance(event, MemberLeft)}) == 1
        assert (len(left), done) == (3, Moderated(mo, done=True))

    @pytest.mark.parametrize("kind", Kind)
    async def test_a_kick_of_nobody_changes_nothing(self, recorder: Recorder, kind: Kind) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        await recorder.wait_for(1)
        recorder.broker.kick(ROOM, mo, kind, PeerId("ana"))
        assert (await recorder.wait_for_all())[1:] == [Moderated(mo, done=False)]

    async def test_a_kick_frees_the_id_and_the_place(self, recorder: Recorder) -> None:
        mo, _ = recorder.join(Kind.USER, "mo"), recorder.join(Kind.PEER, "ana", capacity=1)
        await recorder.wait_for(2)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"))
        again = recorder.join(Kind.PEER, "ana", capacity=1)
        assert summary(await recorder.wait_for_all())[-1] == ("MemberJoined", again)

    async def test_a_lone_moderator_may_kick_itself(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        await recorder.wait_for(1)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("mo"))
        assert isinstance((await recorder.wait_for(2))[1], MemberLeft)
        await until(lambda: recorder.unsubscribed, "the end of the room")

    async def test_a_locked_room_admits_moderators_only(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        version = joined((await recorder.wait_for(1))[0]).version
        recorder.broker.lock(ROOM, mo, locked=True)
        refused = [recorder.join(kind, "ana") for kind in Kind]
        taken = recorder.join(Kind.PEER, "mo")
        max_ = recorder.join(Kind.PEER, "max", moderator=True)
        await until(lambda: recorder.position(ROOM, max_) is not None, "the moderator")
        recorder.broker.lock(ROOM, mo, locked=False)
        ana = recorder.join(Kind.PEER, "ana")
        events = await recorder.wait_for_all()
        assert [event for event in events if isinstance(event, RoomLocked)] == [
            RoomLocked(version + 1, locked=True, by=mo),
            RoomLocked(version + 3, locked=False, by=mo),
        ]
        assert [event for event in events if isinstance(event, JoinRefused)] == [
            JoinRefused(one, ErrorCode.ROOM_LOCKED) for one in (*refused, taken)
        ]
        assert summary(events)[-1] == ("MemberJoined", ana)

    async def test_locking_a_locked_room_changes_nothing(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        await recorder.wait_for(1)
        for locked in (False, True, True):
            recorder.broker.lock(ROOM, mo, locked=locked)
        events = (await recorder.wait_for_all())[1:]
        assert [event.done for event in events if isinstance(event, Moderated)] == [False, True, False]
        assert sum(isinstance(event, RoomLocked) for event in events) == 1

    async def test_the_application_locks_announces_and_kicks_in_the_order_of_all_changes(
        self, recorder: Recorder
    ) -> None:
        ana = recorder.join(Kind.PEER, "ana")
        version = joined((await recorder.wait_for(1))[0]).version
        recorder.broker.lock(ROOM, SERVER, locked=True)
        recorder.broker.announce(ROOM, {"text": ["é", 1, None]})
        recorder.broker.kick(ROOM, SERVER, Kind.PEER, PeerId("ana"))
        events = await recorder.wait_for_all()
        told = [event for event in events[1:] if not isinstance(event, Moderated)]
        assert [structs.replace(event, offset=b"") for event in told[:3]] == [
            RoomLocked(version + 1, locked=True, by=SERVER),
            Announced(version + 2, {"text": ["é", 1, None]}),
            MemberLeft(version + 3, ana, LeaveReason.KICKED),
        ]
        assert [event for event in events if isinstance(event, Moderated)] == 3 * [Moderated(SERVER, done=True)]

    async def test_the_application_closes_a_room_and_bans(self, recorder: Recorder) -> None:
        recorder.join(Kind.PEER, "ana")
        await recorder.wait_for(1)
        recorder.broker.kick(ROOM, SERVER, Kind.PEER, PeerId("max"), Notice("spam", "", 60))
        recorder.broker.list_bans(ROOM, SERVER)
        recorder.broker.close(ROOM, SERVER, Notice("over"))
        events = await recorder.wait_for_all()
        (found,) = [event.bans for event in events if isinstance(event, Moderated) and event.bans]
        assert [(ban.id, ban.by, ban.notice.reason) for ban in found] == [("max", "", "spam")]
        assert [event.notice.reason for event in events if isinstance(event, RoomClosed)] == ["over"]

    async def test_the_application_changes_nothing_in_a_room_without_members(self, recorder: Recorder) -> None:
        recorder.broker.announce(ROOM, "hello")
        recorder.broker.lock(ROOM, SERVER, locked=True)
        assert await recorder.wait_for(2) == 2 * [Moderated(SERVER, done=False)]

    async def test_a_lock_ends_with_the_last_leave(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        await recorder.wait_for(1)
        recorder.broker.lock(ROOM, mo, locked=True)
        recorder.leave(mo)
        ana = recorder.join(Kind.PEER, "ana")
        assert ("MemberJoined", ana) in summary(await recorder.wait_for_all())

    async def test_a_closed_room_emits_one_event_and_starts_again(self, recorder: Recorder) -> None:
        mo, _ = recorder.join(Kind.PEER, "mo"), [recorder.join(Kind.USER, name) for name in "abc"]
        version = joined((await recorder.wait_for(4))[-1]).version
        recorder.broker.lock(ROOM, mo, locked=True)
        recorder.broker.close(ROOM, mo)
        again = recorder.join(Kind.PEER, "mo")
        await until(lambda: recorder.position(ROOM, again) is not None, "the join after it")
        position = cast("int", recorder.position(ROOM, again))
        events = recorder.events[ROOM][4 : position + 1]
        closed = next(event for event in events if isinstance(event, RoomClosed))
        assert closed == RoomClosed(version + 2, mo)
        assert not [event for event in events if isinstance(event, MemberLeft)]
        entered = joined(events[-1])
        assert (entered.member.order, entered.version > closed.version, recorder.unsubscribed) == (1, True, 1)

    async def test_an_update_is_emitted_before_its_outcome(self, recorder: Recorder) -> None:
        mo, ana = recorder.join(Kind.USER, "mo"), recorder.join(Kind.PEER, "ana")
        version = joined((await recorder.wait_for(2))[1]).version
        recorder.broker.update(ROOM, ana, {"a": [1, "ä"]})
        recorder.broker.update(ROOM, ana, {"a": [1, "ä"]})
        assert (await recorder.wait_for_all())[2:] == [
            MemberUpdated(version + 1, Kind.PEER, PeerId("ana"), {"a": [1, "ä"]}, ana),
            Moderated(ana, done=True),
            Moderated(ana, done=False),
        ]
        assert {
            one.incarnation: one for one in (await recorder.broker.administration.room(ROOM)).members
        } == recorder.rosters[ROOM]
        assert mo in recorder.rosters[ROOM]

    @pytest.mark.parametrize("name", ["uma", "u a", "u a b", 'ü"\\'])
    async def test_an_update_is_for_all_connections_of_a_user_and_for_further_ones(
        self, recorder: Recorder, name: str
    ) -> None:
        others = [recorder.join(Kind.PEER, name), recorder.join(Kind.USER, "u"), recorder.join(Kind.USER, f"{name} x")]
        tabs = [recorder.join(Kind.USER, name) for _ in range(2)]
        await recorder.wait_for(5)
        recorder.broker.update(ROOM, tabs[1], {"name": "Uma"})
        third = recorder.join(Kind.USER, name)
        await recorder.wait_for_all()
        roster = {one.incarnation: one.metadata for one in (await recorder.broker.administration.room(ROOM)).members}
        assert [roster[one] for one in (*tabs, third)] == [{"name": "Uma"}] * 3
        assert [roster[one] for one in others] == [{"incarnation": one} for one in others]
        assert {one: member.metadata for one, member in recorder.rosters[ROOM].items()} == roster

    async def test_a_member_that_left_updates_nothing(self, recorder: Recorder) -> None:
        ana, _ = recorder.join(Kind.PEER, "ana"), recorder.join(Kind.USER, "uma")
        await recorder.wait_for(2)
        recorder.leave(ana)
        await recorder.wait_for(3)
        recorder.broker.update(ROOM, ana, {"a": 1})
        assert (await recorder.wait_for_all())[3:] == [Moderated(ana, done=False)]

    async def test_the_words_of_a_moderator_are_emitted_with_the_removal(self, recorder: Recorder) -> None:
        mo, ana = recorder.join(Kind.USER, "mo"), recorder.join(Kind.PEER, "ana")
        await recorder.wait_for(2)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice("spam", 'Nö, "danke".'))
        recorder.broker.close(ROOM, mo, Notice(message="Over."))
        left, _, closed, *_ = (await recorder.wait_for(6))[2:]
        assert left == MemberLeft(left.version, ana, LeaveReason.KICKED, Notice("spam", 'Nö, "danke".'))  # type: ignore[attr-defined]
        assert closed == RoomClosed(closed.version, mo, Notice(message="Over."))  # type: ignore[attr-defined]

    @pytest.mark.parametrize("kind", Kind)
    async def test_a_banned_id_is_refused_until_the_ban_is_lifted(self, recorder: Recorder, kind: Kind) -> None:
        other = Kind.USER if kind is Kind.PEER else Kind.PEER
        mo = recorder.join(Kind.PEER, "mo")
        for name in ("ana", "ben"):
            recorder.join(kind, name)
        await recorder.wait_for(3)
        words = Notice("spam", "Nö.", 60)
        for name in ("ana", "eve"):  # one that is there, and one that is not
            recorder.broker.kick(ROOM, mo, kind, PeerId(name), words)
        assert await recorder.moderated(0) == Moderated(mo, done=True)
        assert await recorder.moderated(1) == Moderated(mo, done=True, absent=True)
        for name in ("ana", "eve"):
            refused = await recorder.joins(kind, name)
            assert isinstance(refused, JoinRefused)
            assert (refused.code, refused.notice) == (ErrorCode.BANNED, words)
            assert 50_000 < refused.retry_after_ms <= 60_000
            assert isinstance(await recorder.joins(other, name), MemberJoined)
        assert isinstance(await recorder.joins(kind, "ana", moderator=True), MemberJoined)
        recorder.broker.list_bans(ROOM, mo)
        bans = (await recorder.moderated(2)).bans
        assert [
            (ban.kind, ban.id, ban.notice, ban.by, ban.address) for ban in sorted(bans, key=lambda ban: ban.id)
        ] == [(kind, name, words, "mo", False) for name in ("ana", "eve")]
        assert all(50 < ban.expires_in <= 60 for ban in bans)
        for name in ("eve", "eve"):
            recorder.broker.unban(ROOM, mo, kind, PeerId(name))
        assert await recorder.moderated(3) == Moderated(mo, done=True)
        assert await recorder.moderated(4) == Moderated(mo, done=False)
        assert isinstance(await recorder.joins(kind, "eve"), MemberJoined)

    @pytest.mark.parametrize("verified", [True, False])
    async def test_the_ban_of_a_verified_id_is_for_both_kinds_and_the_other_is_removed_too_if_it_is_verified(
        self, recorder: Recorder, verified: bool
    ) -> None:
        mo, _ = recorder.join(Kind.PEER, "mo"), recorder.join(Kind.PEER, "ana", verified=True)
        una = recorder.join(Kind.USER, "ana", verified=verified)
        await recorder.wait_for(3)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        await recorder.moderated(0)
        assert set(recorder.rosters[ROOM]) == ({mo} if verified else {mo, una})
        for kind in Kind:
            assert isinstance(await recorder.joins(kind, "ana", verified=True), JoinRefused)
        assert isinstance(await recorder.joins(Kind.PEER, "ana"), JoinRefused)
        assert isinstance(await recorder.joins(Kind.USER, "ana"), MemberJoined)

    async def test_the_ban_of_a_claimed_id_is_not_for_its_owner(self, recorder: Recorder) -> None:
        mo, _ = recorder.join(Kind.PEER, "mo"), recorder.join(Kind.PEER, "ana")
        await recorder.wait_for(2)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        await recorder.moderated(0)
        assert isinstance(await recorder.joins(Kind.PEER, "ana"), JoinRefused)
        assert isinstance(await recorder.joins(Kind.PEER, "ana", verified=True), MemberJoined)

    async def test_a_ban_is_for_the_address_of_the_removed_member_if_that_is_told(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo", address="192.0.2.1")
        recorder.join(Kind.PEER, "ana", address="192.0.2.2")
        await recorder.wait_for(2)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        recorder.broker.list_bans(ROOM, mo)
        assert [ban.address for ban in (await recorder.moderated(1)).bans] == [True]
        for kind in Kind:
            assert isinstance(await recorder.joins(kind, "other", address="192.0.2.2"), JoinRefused)
            assert isinstance(await recorder.joins(kind, "another", address="192.0.2.3"), MemberJoined)
        recorder.broker.unban(ROOM, mo, Kind.PEER, PeerId("ana"))
        assert isinstance(await recorder.joins(Kind.PEER, "other", address="192.0.2.2"), MemberJoined)

    async def test_a_ban_is_for_the_last_address_of_a_member(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        ana = recorder.join(Kind.PEER, "ana", address="192.0.2.2")
        await recorder.wait_for(2)
        recorder.broker.set_presence(ROOM, ana, detached=True)
        recorder.broker.set_presence(ROOM, ana, detached=False, address="192.0.2.3")
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        assert isinstance(await recorder.joins(Kind.PEER, "eve", address="192.0.2.2"), MemberJoined)
        assert isinstance(await recorder.joins(Kind.USER, "eve", address="192.0.2.3"), JoinRefused)

    async def test_a_ban_ends_in_time_and_outlives_its_room(self, recorder: Recorder) -> None:
        mo = recorder.join(Kind.PEER, "mo")
        await recorder.wait_for(1)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=2))
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ben"), Notice(ban_seconds=60))
        recorder.broker.close(ROOM, mo)
        await until(lambda: recorder.unsubscribed, "the end of the room")
        async with asyncio.timeout(DEADLINE):
            while isinstance(await recorder.joins(Kind.PEER, "ana"), JoinRefused):
                await asyncio.sleep(0.05)
        assert isinstance(await recorder.joins(Kind.PEER, "ben"), JoinRefused)
        assert isinstance(await recorder.joins(Kind.PEER, "ben", room=OTHER_ROOM), MemberJoined)

    async def test_the_bans_of_a_room_are_bounded(self, recorder: Recorder) -> None:
        mo, ana = recorder.join(Kind.PEER, "mo"), recorder.join(Kind.PEER, "ana")
        await recorder.wait_for(2)
        for number in range(MAX_ROOM_BANS):
            recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId(f"p{number}"), Notice(ban_seconds=60 + number))
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        assert await recorder.moderated(MAX_ROOM_BANS) == Moderated(mo, done=False, full=True)
        assert ana in recorder.rosters[ROOM]
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("p0"), Notice(ban_seconds=600))  # replaces
        recorder.broker.list_bans(ROOM, mo)
        bans = (await recorder.moderated(MAX_ROOM_BANS + 2)).bans
        assert [ban.id for ban in bans] == [*(f"p{number}" for number in range(1, MAX_ROOM_BANS)), "p0"]
        recorder.broker.unban(ROOM, mo, Kind.PEER, PeerId("p1"))
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        assert await recorder.moderated(MAX_ROOM_BANS + 4) == Moderated(mo, done=True)

    async def test_a_member_that_left_cannot_moderate(self, recorder: Recorder) -> None:
        mo, ana = recorder.join(Kind.PEER, "mo"), recorder.join(Kind.PEER, "ana")
        await recorder.wait_for(2)
        recorder.leave(mo)
        await recorder.wait_for(3)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"))
        recorder.broker.lock(ROOM, mo, locked=True)
        recorder.broker.close(ROOM, mo)
        recorder.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"), Notice(ban_seconds=60))
        recorder.broker.unban(ROOM, mo, Kind.PEER, PeerId("ana"))
        recorder.broker.list_bans(ROOM, mo)
        events = (await recorder.wait_for_all())[3:]
        assert events == [Moderated(mo, done=False)] * 6
        assert ana


REQUESTS = st.lists(
    st.tuples(st.sampled_from(["join", "again", "leave"]), st.sampled_from(Kind), st.sampled_from("abc")), max_size=30
)


class Model:
    """The events that a broker must emit for a schedule of requests."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.present: list[Member] = []
        self.said: list[tuple[str, Incarnation]] = []

    def join(self, member: Member) -> None:
        """Process a join."""
        if member in self.present:
            return
        alike = [other for other in self.present if other.kind is member.kind]
        taken = member.kind is Kind.PEER and member.id in {other.id for other in alike}
        if taken or len(alike) >= self.capacity:
            self.said.append(("JoinRefused", member.incarnation))
            return
        self.present.append(member)
        self.said.append(("MemberJoined", member.incarnation))

    def leave(self, member: Member) -> None:
        """Process a leave."""
        if member in self.present:
            self.present.remove(member)
            self.said.append(("MemberLeft", member.incarnation))
