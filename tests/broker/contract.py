"""The contract of `Broker` as tests: one suite, run over every implementation.

An implementation's tests subclass `BrokerContract` and give it a `broker` fixture. Nothing here takes an event to be
heard within the call that asks for it: whatever is expected is awaited, and that nothing more comes is known once a
later request for the same room was heard.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import strategies as st

from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import (
    JoinRefused,
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    Moderated,
    RoomClosed,
    RoomLocked,
    Vacated,
)
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.events import Event

ROOM = RoomId("room123")
OTHER_ROOM = RoomId("room456")
NODE = NodeId("node")
CAPACITY = 1000


class Ear:
    """The listener of one node: what it heard of each room, in order."""

    def __init__(self, broker: Broker, node: NodeId = NODE) -> None:
        self.broker = broker
        self.node = node
        self.vacated = 0
        self._heard: dict[RoomId, list[Event]] = {}
        self._names = count(1)
        broker.listen(self._hear)

    def _hear(self, room: RoomId, event: Event) -> None:
        if isinstance(event, Vacated):
            self.vacated += 1
        else:
            self._heard.setdefault(room, []).append(event)

    def join(
        self,
        kind: Kind,
        name: str,
        *,
        room: RoomId = ROOM,
        capacity: int = CAPACITY,
        verified: bool = False,
        moderator: bool = False,
    ) -> Incarnation:
        """Ask for a new incarnation to be let in."""
        member = self.member(kind, name, verified=verified)
        self.broker.join(room, member, capacity, moderator=moderator)
        return member.incarnation

    def member(self, kind: Kind, name: str, *, verified: bool = False) -> Member:
        """A new incarnation, whose metadata names it."""
        incarnation = Incarnation(f"{self.node}.{next(self._names)}")
        return Member(kind, PeerId(name), incarnation, self.node, {"incarnation": incarnation}, verified=verified)

    def leave(self, incarnation: Incarnation, *, room: RoomId = ROOM, reason: LeaveReason = LeaveReason.LEFT) -> None:
        """Ask for an incarnation to be removed."""
        self.broker.leave(room, incarnation, reason)

    async def heard(self, number: int, *, room: RoomId = ROOM) -> list[Event]:
        """What was heard of a room, once it is so many events or more."""
        await until(lambda: len(self._heard.get(room, [])) >= number, f"{number} events of {room}")
        return list(self._heard[room])

    async def all_heard(self, *, room: RoomId = ROOM) -> list[Event]:
        """What was heard of a room when all that was asked before is done: a last join is heard after all of it."""
        last = self.join(Kind.USER, "last", room=room, moderator=True)
        await until(lambda: self._position(room, last) is not None, f"the last join of {room}")
        position = cast("int", self._position(room, last))
        return self._heard[room][:position]

    def _position(self, room: RoomId, incarnation: Incarnation) -> int | None:
        for position, event in enumerate(self._heard.get(room, [])):
            if isinstance(event, MemberJoined) and event.member.incarnation == incarnation:
                return position
        return None


def joined(event: Event) -> MemberJoined:
    """The event, which is a join."""
    assert isinstance(event, MemberJoined)
    return event


def summary(events: list[Event]) -> list[tuple[str, Incarnation]]:
    """What happened to whom."""
    said = []
    for event in events:
        if isinstance(event, MemberJoined):
            said.append(("MemberJoined", event.member.incarnation))
        elif isinstance(event, MemberLeft | JoinRefused):
            said.append((type(event).__name__, event.incarnation))
    return said


class BrokerContract:
    """What every broker promises."""

    @pytest.fixture
    def broker(self) -> Broker:
        raise NotImplementedError("the implementation's tests give the broker")

    @pytest.fixture
    def ear(self, broker: Broker) -> Ear:
        return Ear(broker)

    async def test_a_join_is_heard_with_the_member_as_it_was_given(self, ear: Ear) -> None:
        member = ear.member(Kind.PEER, "ana")
        ear.broker.join(ROOM, member, CAPACITY)
        (event,) = await ear.heard(1)
        heard = joined(event).member
        assert (heard.kind, heard.id, heard.incarnation) == (Kind.PEER, "ana", member.incarnation)
        assert (heard.node, heard.metadata) == (NODE, {"incarnation": member.incarnation})

    @pytest.mark.parametrize("reason", LeaveReason)
    async def test_a_leave_is_heard_with_its_reason(self, ear: Ear, reason: LeaveReason) -> None:
        ana = ear.join(Kind.PEER, "ana")
        ear.leave(ana, reason=reason)
        event = (await ear.heard(2))[1]
        assert isinstance(event, MemberLeft)
        assert (event.incarnation, event.reason) == (ana, reason)

    async def test_events_come_in_the_order_of_the_requests(self, ear: Ear) -> None:
        expected = []
        for number in range(20):
            incarnation = ear.join(Kind(["peer", "user"][number % 2]), f"m{number}")
            expected.append(("MemberJoined", incarnation))
            if number % 3 == 0:
                ear.leave(incarnation)
                expected.append(("MemberLeft", incarnation))
        assert summary(await ear.all_heard()) == expected

    async def test_versions_rise_by_one_with_each_event(self, ear: Ear) -> None:
        ear.join(Kind.USER, "anchor")
        ana = ear.join(Kind.PEER, "ana")
        ear.join(Kind.PEER, "ana")
        ear.leave(Incarnation("nobody"))
        ear.leave(ana)
        ear.join(Kind.PEER, "ana")
        events = await ear.all_heard()
        versions = [event.version for event in events if isinstance(event, MemberJoined | MemberLeft)]
        assert versions == list(range(versions[0], versions[0] + 4))
        assert versions[0] > 0

    async def test_versions_of_a_room_that_was_emptied_go_on_above_where_it_ended(self, ear: Ear) -> None:
        first = ear.join(Kind.PEER, "a")
        ear.leave(first)
        ear.leave(ear.join(Kind.PEER, "b", room=OTHER_ROOM), room=OTHER_ROOM)
        ear.join(Kind.PEER, "c")
        *_, last, again = await ear.heard(3)
        assert isinstance(last, MemberLeft)
        assert isinstance(again, MemberJoined)
        assert again.version > last.version

    async def test_rooms_have_versions_of_their_own(self, ear: Ear) -> None:
        for _ in range(3):
            for room in (ROOM, OTHER_ROOM):
                ear.join(Kind.USER, "uma", room=room)
        for room in (ROOM, OTHER_ROOM):
            versions = [joined(event).version for event in await ear.heard(3, room=room)]
            assert versions == list(range(versions[0], versions[0] + 3))

    async def test_rooms_do_not_hear_of_each_other(self, ear: Ear) -> None:
        here, there = ear.join(Kind.PEER, "ana"), ear.join(Kind.PEER, "ana", room=OTHER_ROOM)
        ear.leave(here, room=OTHER_ROOM)
        assert summary(await ear.all_heard()) == [("MemberJoined", here)]
        assert summary(await ear.all_heard(room=OTHER_ROOM)) == [("MemberJoined", there)]

    async def test_a_room_is_vacated_when_its_last_member_left(self, ear: Ear) -> None:
        ana, uma = ear.join(Kind.PEER, "ana"), ear.join(Kind.USER, "uma")
        ear.leave(ana)
        await ear.heard(3)
        assert not ear.vacated
        ear.leave(uma)
        await until(lambda: ear.vacated, "the end of the room")

    async def test_a_room_that_is_abandoned_loses_its_members_and_begins_anew(self, ear: Ear) -> None:
        for name in ("ana", "ben"):
            ear.join(Kind.PEER, name)
        await ear.heard(2)
        ear.broker.abandon(ROOM)
        again = ear.join(Kind.PEER, "ana")
        await until(lambda: ("MemberJoined", again) in summary(ear._heard[ROOM]), "the join after it")
        before = ear._heard[ROOM][: summary(ear._heard[ROOM]).index(("MemberJoined", again))]
        assert {joined(event).member.incarnation for event in before[:2]} == {"node.1", "node.2"}

    async def test_it_is_ready_and_says_how_it_is(self, ear: Ear) -> None:
        assert ear.broker.ready
        assert "broker" in ear.broker.health()

    # --------------------------------------------------------------------------------------------------------- refusals

    async def test_a_peer_id_is_unique_in_its_room(self, ear: Ear) -> None:
        ear.join(Kind.PEER, "ana")
        second = ear.join(Kind.PEER, "ana")
        events = await ear.all_heard()
        assert events[1:] == [JoinRefused(second, ErrorCode.PEER_ID_TAKEN)]

    @pytest.mark.parametrize("verified", [True, False], ids=["its own", "a claimed"])
    async def test_the_owner_of_an_id_takes_it_from_a_peer_that_is_there_in_one_version(
        self, ear: Ear, verified: bool
    ) -> None:
        first = ear.join(Kind.PEER, "ana", verified=verified)
        second = ear.join(Kind.PEER, "ana", verified=True, capacity=1)
        events = await ear.all_heard()
        left, entered = events[1], joined(events[2])
        assert left == MemberLeft(entered.version, first, LeaveReason.REPLACED)
        assert (entered.member.incarnation, entered.member.verified) == (second, True)

    async def test_a_claimed_id_takes_nothing_from_its_owner_even_while_it_is_away(self, ear: Ear) -> None:
        owner = ear.join(Kind.PEER, "ana", verified=True)
        ear.broker.mark(ROOM, owner, away=True)
        claimed = ear.join(Kind.PEER, "ana")
        events = await ear.all_heard()
        assert events[2:] == [JoinRefused(claimed, ErrorCode.PEER_ID_TAKEN)]

    async def test_a_peer_id_is_free_again_when_its_peer_left(self, ear: Ear) -> None:
        ear.join(Kind.USER, "anchor")
        first = ear.join(Kind.PEER, "ana")
        ear.leave(first)
        second = ear.join(Kind.PEER, "ana")
        assert summary(await ear.all_heard())[-1] == ("MemberJoined", second)

    async def test_a_user_may_be_there_several_times_and_be_named_like_a_peer(self, ear: Ear) -> None:
        members = [ear.join(Kind.PEER, "ana"), ear.join(Kind.USER, "ana"), ear.join(Kind.USER, "ana")]
        assert summary(await ear.all_heard()) == [("MemberJoined", member) for member in members]

    @pytest.mark.parametrize("kind", Kind)
    async def test_a_room_holds_as_many_of_a_kind_as_its_capacity(self, ear: Ear, kind: Kind) -> None:
        other = Kind.USER if kind is Kind.PEER else Kind.PEER
        for name in ("x", "y"):
            ear.join(other, name, capacity=2)
        members = [ear.join(kind, name, capacity=2) for name in ("a", "b", "c")]
        events = await ear.all_heard()
        assert summary(events[2:4]) == [("MemberJoined", member) for member in members[:2]]
        assert events[4:] == [JoinRefused(members[2], ErrorCode.ROOM_FULL)]

    async def test_every_connection_of_a_user_counts_as_a_member(self, ear: Ear) -> None:
        ear.join(Kind.USER, "uma", capacity=1)
        second = ear.join(Kind.USER, "uma", capacity=1)
        assert (await ear.all_heard())[1:] == [JoinRefused(second, ErrorCode.ROOM_FULL)]

    async def test_a_place_that_was_left_is_free(self, ear: Ear) -> None:
        ear.join(Kind.USER, "anchor")
        first = ear.join(Kind.PEER, "a", capacity=1)
        ear.leave(first)
        second = ear.join(Kind.PEER, "b", capacity=1)
        assert summary(await ear.all_heard())[-1] == ("MemberJoined", second)

    async def test_a_refused_member_is_not_there(self, ear: Ear) -> None:
        first = ear.join(Kind.PEER, "ana")
        refused = ear.join(Kind.PEER, "ana")
        ear.leave(refused)
        third = ear.join(Kind.PEER, "ana")
        assert summary(await ear.all_heard()) == [
            ("MemberJoined", first),
            ("JoinRefused", refused),
            ("JoinRefused", third),
        ]

    # -------------------------------------------------------------------------------------------- asking twice, or late

    async def test_asking_twice_to_join_is_asking_once(self, ear: Ear) -> None:
        for kind in Kind:
            member = ear.member(kind, "ana")
            for _ in range(3):
                ear.broker.join(ROOM, member, CAPACITY)
        assert [name for name, _ in summary(await ear.all_heard())] == ["MemberJoined", "MemberJoined"]

    async def test_asking_twice_to_join_takes_one_place(self, ear: Ear) -> None:
        member = ear.member(Kind.PEER, "a")
        for _ in range(2):
            ear.broker.join(ROOM, member, 2)
        second = ear.join(Kind.PEER, "b", capacity=2)
        assert summary(await ear.all_heard())[-1] == ("MemberJoined", second)

    async def test_asking_twice_to_leave_is_asking_once(self, ear: Ear) -> None:
        ear.join(Kind.USER, "anchor")
        ana = ear.join(Kind.PEER, "ana")
        for _ in range(3):
            ear.leave(ana)
        assert [name for name, _ in summary(await ear.all_heard())] == ["MemberJoined", "MemberJoined", "MemberLeft"]

    async def test_who_is_not_there_leaves_without_effect(self, ear: Ear) -> None:
        ear.leave(Incarnation("nobody"))
        ana = ear.join(Kind.PEER, "ana")
        ear.leave(Incarnation("nobody"))
        assert summary(await ear.all_heard()) == [("MemberJoined", ana)]

    async def test_a_late_leave_of_an_earlier_incarnation_leaves_the_later_one(self, ear: Ear) -> None:
        ear.join(Kind.USER, "anchor")
        old = ear.join(Kind.PEER, "ana")
        ear.leave(old)
        ear.join(Kind.PEER, "ana")
        ear.leave(old)
        rival = ear.join(Kind.PEER, "ana")
        events = await ear.all_heard()
        assert [name for name, _ in summary(events)].count("MemberLeft") == 1
        assert events[-1] == JoinRefused(rival, ErrorCode.PEER_ID_TAKEN)

    async def test_one_of_several_connections_of_a_user_leaves_alone(self, ear: Ear) -> None:
        first, second = ear.join(Kind.USER, "uma"), ear.join(Kind.USER, "uma")
        ear.leave(first)
        assert summary(await ear.all_heard()) == [
            ("MemberJoined", first),
            ("MemberJoined", second),
            ("MemberLeft", first),
        ]

    # ------------------------------------------------------------------------------------------------------------ order

    async def test_order_counts_the_joins_of_each_kind(self, ear: Ear) -> None:
        for kind in (Kind.PEER, Kind.USER, Kind.USER, Kind.PEER, Kind.USER):
            ear.join(kind, f"m{next(ear._names)}")
        orders = [(joined(event).member.kind, joined(event).member.order) for event in await ear.all_heard()]
        assert orders == [("peer", 1), ("user", 1), ("user", 2), ("peer", 2), ("user", 3)]

    async def test_order_rises_over_leaves_and_skips_refusals(self, ear: Ear) -> None:
        ear.join(Kind.USER, "anchor")
        ana = ear.join(Kind.PEER, "ana")
        ear.join(Kind.PEER, "ana")
        ear.leave(ana)
        ear.join(Kind.PEER, "ben")
        events = await ear.all_heard()
        assert [joined(event).member.order for event in (events[1], events[-1])] == [1, 2]

    async def test_order_starts_anew_when_the_room_was_empty(self, ear: Ear) -> None:
        for _ in range(2):
            members = [ear.join(Kind.PEER, "ana"), ear.join(Kind.PEER, "ben"), ear.join(Kind.USER, "uma")]
            for member in members:
                ear.leave(member)
        ear.join(Kind.PEER, "ana")
        events = await ear.all_heard()
        orders = [event.member.order for event in events if isinstance(event, MemberJoined)]
        assert orders == [1, 2, 1, 1, 2, 1, 1]

    async def test_order_goes_on_while_anybody_of_either_kind_is_there(self, ear: Ear) -> None:
        ana = ear.join(Kind.PEER, "ana")
        ear.join(Kind.USER, "uma")
        ear.leave(ana)
        ear.join(Kind.PEER, "ana")
        assert joined((await ear.all_heard())[-1]).member.order == 2

    # ------------------------------------------------------------------------------------------------------- moderation

    async def test_a_peer_that_is_kicked_leaves_with_that_reason_and_then_it_is_said_to_be_done(self, ear: Ear) -> None:
        mo, ana = ear.join(Kind.USER, "mo"), ear.join(Kind.PEER, "ana")
        ear.join(Kind.USER, "ana")
        await ear.heard(3)
        ear.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"))
        version = joined((await ear.heard(3))[2]).version
        assert (await ear.all_heard())[3:] == [
            MemberLeft(version + 1, ana, LeaveReason.KICKED),
            Moderated(mo, done=True),
        ]

    @pytest.mark.parametrize("name", ["uma", 'u"m\\a', "ümä", "u,true]"])
    async def test_all_connections_of_a_user_are_kicked_in_one_version(self, ear: Ear, name: str) -> None:
        mo = ear.join(Kind.PEER, "mo")
        tabs = {ear.join(Kind.USER, name) for _ in range(3)}
        ear.join(Kind.USER, f"{name}2")
        ear.join(Kind.PEER, name)
        await ear.heard(6)
        ear.broker.kick(ROOM, mo, Kind.USER, PeerId(name))
        *left, done = (await ear.all_heard())[6:]
        assert {event.incarnation for event in left if isinstance(event, MemberLeft)} == tabs
        assert len({event.version for event in left if isinstance(event, MemberLeft)}) == 1
        assert (len(left), done) == (3, Moderated(mo, done=True))

    @pytest.mark.parametrize("kind", Kind)
    async def test_a_kick_of_nobody_changes_nothing(self, ear: Ear, kind: Kind) -> None:
        mo = ear.join(Kind.PEER, "mo")
        await ear.heard(1)
        ear.broker.kick(ROOM, mo, kind, PeerId("ana"))
        assert (await ear.all_heard())[1:] == [Moderated(mo, done=False)]

    async def test_who_was_kicked_has_freed_its_id_and_its_place(self, ear: Ear) -> None:
        mo, _ = ear.join(Kind.USER, "mo"), ear.join(Kind.PEER, "ana", capacity=1)
        await ear.heard(2)
        ear.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"))
        again = ear.join(Kind.PEER, "ana", capacity=1)
        assert summary(await ear.all_heard())[-1] == ("MemberJoined", again)

    async def test_a_moderator_who_kicks_itself_and_was_alone_vacates_the_room(self, ear: Ear) -> None:
        mo = ear.join(Kind.PEER, "mo")
        await ear.heard(1)
        ear.broker.kick(ROOM, mo, Kind.PEER, PeerId("mo"))
        assert isinstance((await ear.heard(2))[1], MemberLeft)
        await until(lambda: ear.vacated, "the end of the room")

    async def test_a_locked_room_lets_in_moderators_alone_until_it_is_unlocked(self, ear: Ear) -> None:
        mo = ear.join(Kind.PEER, "mo")
        version = joined((await ear.heard(1))[0]).version
        ear.broker.lock(ROOM, mo, locked=True)
        refused = [ear.join(kind, "ana") for kind in Kind]
        taken = ear.join(Kind.PEER, "mo")
        max_ = ear.join(Kind.PEER, "max", moderator=True)
        await until(lambda: ear._position(ROOM, max_) is not None, "the moderator")
        ear.broker.lock(ROOM, mo, locked=False)
        ana = ear.join(Kind.PEER, "ana")
        events = await ear.all_heard()
        assert [event for event in events if isinstance(event, RoomLocked)] == [
            RoomLocked(version + 1, locked=True, by=mo),
            RoomLocked(version + 3, locked=False, by=mo),
        ]
        assert [event for event in events if isinstance(event, JoinRefused)] == [
            JoinRefused(one, ErrorCode.ROOM_LOCKED) for one in (*refused, taken)
        ]
        assert summary(events)[-1] == ("MemberJoined", ana)

    async def test_locking_a_room_that_is_locked_is_no_news(self, ear: Ear) -> None:
        mo = ear.join(Kind.PEER, "mo")
        await ear.heard(1)
        for locked in (False, True, True):
            ear.broker.lock(ROOM, mo, locked=locked)
        events = (await ear.all_heard())[1:]
        assert [event.done for event in events if isinstance(event, Moderated)] == [False, True, False]
        assert sum(isinstance(event, RoomLocked) for event in events) == 1

    async def test_a_lock_ends_with_the_life_of_its_room(self, ear: Ear) -> None:
        mo = ear.join(Kind.PEER, "mo")
        await ear.heard(1)
        ear.broker.lock(ROOM, mo, locked=True)
        ear.leave(mo)
        ana = ear.join(Kind.PEER, "ana")
        assert ("MemberJoined", ana) in summary(await ear.all_heard())

    async def test_a_room_that_is_closed_is_told_so_once_and_begins_anew(self, ear: Ear) -> None:
        mo, _ = ear.join(Kind.PEER, "mo"), [ear.join(Kind.USER, name) for name in "abc"]
        version = joined((await ear.heard(4))[-1]).version
        ear.broker.lock(ROOM, mo, locked=True)
        ear.broker.close(ROOM, mo)
        again = ear.join(Kind.PEER, "mo")
        await until(lambda: ear._position(ROOM, again) is not None, "the join after it")
        position = cast("int", ear._position(ROOM, again))
        events = ear._heard[ROOM][4 : position + 1]
        closed = next(event for event in events if isinstance(event, RoomClosed))
        assert closed == RoomClosed(version + 2, mo)
        assert not [event for event in events if isinstance(event, MemberLeft)]
        entered = joined(events[-1])
        assert (entered.member.order, entered.version > closed.version, ear.vacated) == (1, True, 1)

    async def test_who_is_out_of_a_room_moderates_it_no_more(self, ear: Ear) -> None:
        mo, ana = ear.join(Kind.PEER, "mo"), ear.join(Kind.PEER, "ana")
        await ear.heard(2)
        ear.leave(mo)
        await ear.heard(3)
        ear.broker.kick(ROOM, mo, Kind.PEER, PeerId("ana"))
        ear.broker.lock(ROOM, mo, locked=True)
        ear.broker.close(ROOM, mo)
        events = (await ear.all_heard())[3:]
        assert events == [Moderated(mo, done=False)] * 3
        assert ana


# --------------------------------------------------------------------------------------------------------- any schedule

REQUESTS = st.lists(
    st.tuples(st.sampled_from(["join", "again", "leave"]), st.sampled_from(Kind), st.sampled_from("abc")), max_size=30
)


class Model:
    """What a broker must say to a schedule of requests, in the plainest words."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.present: list[Member] = []
        self.said: list[tuple[str, Incarnation]] = []

    def join(self, member: Member) -> None:
        """Let a member in, or not."""
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
        """Let a member go."""
        if member in self.present:
            self.present.remove(member)
            self.said.append(("MemberLeft", member.incarnation))
