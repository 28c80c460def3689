from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import (
    CloseCode,
    ErrorCode,
    NotInRoom,
    PeerIdTaken,
    PeerNotFound,
    RoomFull,
    RoomLocked,
    SignalingError,
    Unavailable,
)
from mcp_actors.protocol.events import (
    FramesLost,
    JoinRefused,
    Kind,
    LeaveAccepted,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    PresenceChanged,
    Receipt,
    Unsubscribed,
)
from mcp_actors.protocol.handover import MemberState
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RequestId, UserId
from mcp_actors.protocol.messages import UserEntry
from mcp_actors.room.effects import (
    Close,
    Done,
    Drop,
    Entered,
    Left,
    Relay,
)
from tests.support.rooms import ROOM, THIRD, World, message, negotiate, signal


def entry(name: str, order: int) -> wire.PeerEntry:
    return wire.PeerEntry(PeerId(name), {"name": name}, order)


def outcome(world: World, reply: object) -> object:
    """The outcome of the request with this reply."""
    (done,) = [one for one in world.done if one.reply == reply]
    return done.outcome


def test_a_member_is_in_the_room_when_the_broker_says_so() -> None:
    world = World()
    ana = world.ask_join(Kind.PEER, "ana", reply="join")
    assert ana not in world.room.roster
    assert (world.sent[ana], world.done) == ([], [])
    world.hear()
    assert ana in world.room.roster
    assert world.types(ana) == ["welcome"]
    assert world.done == [Done("join")]
    assert [effect.member.incarnation for effect in world.effects if isinstance(effect, Entered)] == [ana]


def test_a_welcome_shows_a_peer_every_peer_in_join_order_itself_included() -> None:
    world = World()
    for name in ("cem", "ana"):
        world.peer(name)
    world.user("uma")
    ben = world.peer("ben")
    welcome = world.welcomes[ben]
    assert welcome.peers == [entry("cem", 1), entry("ana", 2), entry("ben", 3)]
    assert (welcome.member_id, welcome.order, welcome.version, welcome.users) == ("ben", 3, 4, [])
    assert not welcome.locked


def test_a_welcome_shows_a_user_every_user_once_and_every_peer() -> None:
    world = World()
    world.user("uma")
    world.peer("ana")
    world.user("uma")
    vic = world.user("vic")
    assert (world.welcomes[vic].users, world.welcomes[vic].peers) == (
        [UserEntry(UserId(name), {"name": name}) for name in ("uma", "vic")],
        [entry("ana", 1)],
    )


def test_a_new_peer_is_announced_to_all_others_once() -> None:
    world = World()
    others = [world.peer("ana"), world.user("uma"), world.user("uma")]
    world.clear()
    ben = world.peer("ben")
    payload = {"peer_id": "ben", "metadata": {"name": "ben"}, "order": 2}
    for other in others:
        assert world.sent[other] == [{"type": "peer-joined", "room": ROOM, "payload": payload}]
    assert world.types(ben) == ["welcome"]


def test_the_first_connection_of_a_user_is_announced_to_the_other_users() -> None:
    world = World()
    ana, uma, uma_too = world.peer("ana"), world.user("uma"), world.user("uma")
    world.clear()
    vic, vic_too = world.user("vic"), world.user("vic")
    assert world.types(uma) == world.types(uma_too) == ["user-joined"]
    assert world.sent[ana] == []
    assert world.types(vic) == world.types(vic_too) == ["welcome"]


def test_the_welcome_comes_before_any_announcement() -> None:
    world = World()
    world.peer("ana")
    ben = world.ask_join(Kind.PEER, "ben")
    world.ask_join(Kind.PEER, "cem")
    world.hear()
    assert world.types(ben) == ["welcome", "peer-joined"]


def test_a_welcome_after_a_reconnect_has_the_last_offset_and_shows_the_member_attached() -> None:
    world = World()
    ana = world.peer("ana")
    world.hear(PresenceChanged(7, ana, detached=True, offset=b"1-0.0@n"))
    world.apply(world.room.returned(ana))
    assert world.welcomes[ana].peers == [entry("ana", 1)]
    assert world.welcomes[ana].offset == b"1-0.0@n"
    assert world.room.returned(Incarnation("nobody")) == []


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (ErrorCode.PEER_ID_TAKEN, PeerIdTaken, "Peer id 'ana' is in use in this room; join under another one."),
        (ErrorCode.ROOM_FULL, RoomFull, "The room is full: it holds 10 peers."),
        (ErrorCode.ROOM_LOCKED, RoomLocked, "The room is locked; a moderator can unlock it."),
        (ErrorCode.UNAVAILABLE, Unavailable, "The room cannot be joined now; try again."),
    ],
)
def test_a_refused_join_is_resolved_with_the_reason(code: ErrorCode, error: type[SignalingError], text: str) -> None:
    world = World()
    ana = world.ask_join(Kind.PEER, "ana", reply="join")
    world.events.clear()
    world.hear(JoinRefused(ana, code))
    refusal = outcome(world, "join")
    assert isinstance(refusal, error)
    assert str(refusal) == text
    assert world.room.empty
    assert not any(isinstance(effect, Drop) for effect in world.effects)  # what comes behind is answered, too
    assert world.room.heard(JoinRefused(ana, code)) == []


@pytest.mark.parametrize("kind", Kind)
def test_a_room_is_full_per_kind(kind: Kind) -> None:
    world = World(capacity=1)
    world.join(kind, "a")
    world.join(kind, "b", reply="second")
    assert isinstance(outcome(world, "second"), RoomFull)
    world.join(Kind.USER if kind is Kind.PEER else Kind.PEER, "c", reply="other kind")
    assert outcome(world, "other kind") is None


def test_a_long_hostile_peer_id_does_not_fill_the_refusal() -> None:
    world = World()
    name = "\u0301" * 128
    world.peer(name)
    world.peer(name, reply="join")
    assert len(str(outcome(world, "join"))) < 500


@pytest.mark.parametrize(("kind", "leave"), [(Kind.PEER, "left"), (Kind.USER, "room-left")])
@pytest.mark.parametrize("request_id", [None, 7, 0, ""])
def test_a_leave_is_answered_and_announced(kind: Kind, leave: str, request_id: RequestId | None) -> None:
    world = World()
    uma, gone = world.user("uma"), world.join(kind, "ben")
    world.clear()
    world.leave(gone, request_id=request_id)
    (reply,) = world.sent[gone]
    assert (reply["type"], reply["payload"], reply.get("id")) == (leave, {f"{kind}_id": "ben"}, request_id)
    assert world.sent[uma][0]["payload"] == {f"{kind}_id": "ben", "reason": "left"}
    assert outcome(world, f"leave of {gone}") is None
    assert [one for one in world.effects if isinstance(one, Drop)] == [Drop(gone)]
    assert [one.reason for one in world.effects if isinstance(one, Left)] == ["left"]


def test_a_member_whose_connection_is_gone_is_not_answered() -> None:
    world = World()
    uma, ana = world.user("uma"), world.peer("ana")
    world.clear()
    world.leave(ana, reason=LeaveReason.TIMEOUT, replied=False)
    assert world.sent[ana] == []
    assert world.sent[uma][0]["payload"] == {"peer_id": "ana", "reason": "timeout"}


def test_only_the_last_connection_of_a_user_is_announced_as_left() -> None:
    world = World()
    uma, first, second = world.user("uma"), world.user("vic"), world.user("vic")
    world.clear()
    world.leave(first)
    assert world.sent[uma] == world.sent[second] == []
    world.leave(second)
    assert world.types(uma) == ["user-left"]


def test_leaving_twice_is_leaving_once() -> None:
    world = World()
    ana = world.peer("ana")
    assert world.ask_leave(ana, request_id=1)
    assert not world.ask_leave(ana, request_id=2)
    world.hear()
    assert not world.ask_leave(ana)
    assert [one.get("id") for one in world.sent[ana] if one["type"] == "left"] == [1]


def test_a_member_that_leaves_while_it_joins_is_welcomed_and_answered() -> None:
    world = World()
    uma = world.user("uma")
    world.clear()
    ana = world.ask_join(Kind.PEER, "ana")
    assert world.ask_leave(ana)
    assert not world.ask_leave(ana)
    world.hear()
    assert world.types(ana) == ["welcome", "left"]
    assert world.types(uma) == ["peer-joined", "peer-left"]
    assert world.room.pending.replies() == []


def test_a_leave_is_answered_with_not_in_room_when_the_join_before_it_is_refused() -> None:
    world = World()
    world.peer("ana")
    rival = world.ask_join(Kind.PEER, "ana")
    world.ask_leave(rival)
    world.hear()
    assert isinstance(outcome(world, f"leave of {rival}"), NotInRoom)
    assert world.sent[rival] == []


def test_a_session_that_ended_needs_no_answer_when_its_join_is_refused() -> None:
    world = World()
    world.peer("ana")
    rival = world.ask_join(Kind.PEER, "ana")
    world.ask_leave(rival, replied=False)
    world.hear()
    assert outcome(world, f"leave of {rival}") is None


def test_a_member_whose_leave_is_accepted_is_out_at_once_and_the_others_are_told_later() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    world.clear()
    world.ask_leave(ana, 7)
    late, world.events = world.events, []
    world.hear(LeaveAccepted(ana, LeaveReason.LEFT))
    assert [(one["type"], one["id"]) for one in world.sent[ana]] == [("left", 7)]
    assert outcome(world, f"leave of {ana}") is None
    assert Drop(ana) in world.effects
    assert [one.reason for one in world.effects if isinstance(one, Left)] == [LeaveReason.LEFT]
    with pytest.raises(PeerNotFound):
        world.relay(ben, signal("ana"))
    world.peer("cyd")
    assert world.types(ana) == ["left"]
    assert world.types(ben) == ["peer-joined"]
    world.clear()
    world.hear(*late)
    assert world.types(ana) == []
    assert world.types(ben) == ["peer-left"]
    assert not [one for one in world.effects if isinstance(one, Left)]


def test_a_room_stays_open_until_the_others_are_told_of_an_accepted_leave() -> None:
    world = World()
    ana = world.peer("ana")
    world.ask_leave(ana, replied=False)
    late, world.events = world.events, []
    world.hear(LeaveAccepted(ana, LeaveReason.DISCONNECTED))
    assert world.types(ana) == ["welcome"]
    assert not world.room.empty
    world.hear(*late)
    assert world.room.empty


def test_messages_are_neither_sent_to_nor_acknowledged_to_a_user_whose_leave_was_accepted() -> None:
    world = World()
    uma, vic = world.user("uma"), world.user("vic")
    una = world.remote(Kind.USER, "una")
    world.broadcast(uma, message("hi", 1))
    (published,) = world.published
    world.clear()
    world.ask_leave(uma)
    world.events.clear()
    world.hear(LeaveAccepted(uma, LeaveReason.LEFT), Receipt(uma, una, published.delivery_id, True))
    assert world.types(uma) == ["room-left"]
    world.remote_leaves(una)
    world.broadcast(vic, message("hi", 2))
    assert world.published == []
    assert world.types(vic)[-1] == "ack"


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "staying"])
def test_an_accepted_leave_that_nobody_asked_for_is_ignored(known: bool) -> None:
    world = World()
    ana = world.peer("ana") if known else Incarnation("nobody")
    world.clear()
    world.hear(LeaveAccepted(ana, LeaveReason.LEFT))
    assert world.effects == []


def test_a_member_whose_join_was_refused_gets_no_messages_until_it_has_left() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.remote(Kind.PEER, "ben")
    world.hear(LeaveAccepted(ben, LeaveReason.DISCONNECTED))
    with pytest.raises(PeerNotFound):
        world.relay(ana, signal("ben"))
    world.remote_leaves(ben)
    assert world.types(ana)[-2:] == ["peer-joined", "peer-left"]
    assert world.published == []


@pytest.mark.parametrize(
    ("reason", "code"),
    [(LeaveReason.REPLACED, CloseCode.REPLACED), (LeaveReason.NODE_LOST, CloseCode.ROOM_LOST)],
)
def test_the_connection_of_a_member_that_leaves_unasked_is_closed(reason: LeaveReason, code: CloseCode) -> None:
    world = World()
    ana = world.peer("ana")
    world.clear()
    world.hear(MemberLeft(2, ana, reason))
    assert [one for one in world.effects if isinstance(one, Close | Drop)] == [Close(ana, code), Drop(ana)]


def test_the_connection_of_a_member_whose_messages_were_lost_is_closed() -> None:
    world = World()
    ana = world.peer("ana")
    assert world.room.heard(FramesLost(ana)) == [Close(ana, CloseCode.ROOM_LOST)]


def test_the_leave_of_an_old_incarnation_does_not_remove_a_new_one() -> None:
    world = World()
    old, ben = world.peer("ana"), world.peer("ben")
    world.leave(old)
    new = world.peer("ana")
    assert world.room.heard(MemberLeft(world.room.version + 1, old, LeaveReason.DISCONNECTED)) == []
    relay = world.relay(ben, signal("ana"))
    assert isinstance(relay, Relay)
    assert relay.to == new


def test_an_event_that_is_heard_twice_changes_nothing() -> None:
    world = World()
    ana = world.ask_join(Kind.PEER, "ana")
    event = world.events[0]
    world.hear()
    assert world.room.heard(event) == []
    world.leave(ana)
    assert world.room.heard(MemberLeft(9, ana, LeaveReason.LEFT)) == []


def test_the_version_is_that_of_the_last_event() -> None:
    world = World()
    ana = world.peer("ana")
    world.peer("ben")
    world.leave(ana)
    world.hear(Receipt(ana, ana, 5, delivered=True))
    assert world.room.version == 3


def test_a_room_is_empty_when_no_member_is_local_or_joins() -> None:
    world = World()
    empty = [world.room.empty]
    ana = world.ask_join(Kind.PEER, "ana")
    empty.append(world.room.empty)
    world.remote(Kind.PEER, "ben")
    empty.append(world.room.empty)
    world.ask_leave(ana)
    empty.append(world.room.empty)
    world.hear()
    empty.append(world.room.empty)
    assert empty == [True, False, False, False, True]


def test_a_room_that_is_unsubscribed_forgets_the_members_of_other_nodes_and_its_offers() -> None:
    world = World()
    ana = world.peer("ana")
    world.remote(Kind.PEER, "ben")
    world.relay(ana, negotiate("offer", "ben"))
    assert world.room.handovers.depart(ana).offers
    world.hear(Unsubscribed())
    assert len(world.room.roster) == 0
    assert world.room.handovers.depart(ana) == MemberState()


def test_detached_peers_are_announced_to_those_that_want_to_know() -> None:
    world = World()
    ana, ben, uma = world.peer("ana", presence=True), world.peer("ben"), world.user("uma")
    world.clear()
    world.hear(PresenceChanged(4, ben, detached=True), PresenceChanged(5, ben, detached=True))
    world.hear(PresenceChanged(6, ben, detached=False), PresenceChanged(7, uma, detached=True))
    assert world.types(ana) == ["peer-away", "peer-back"]
    assert world.sent[ben] == world.sent[uma] == []


def test_messages_sent_behind_a_join_are_handled_in_order_when_the_member_is_in_the_room() -> None:
    world = World()
    ben = world.peer("ben")
    ana = world.ask_join(Kind.PEER, "ana")
    for number in (1, 2):
        assert world.relay(ana, signal("ben", number)) is None
    assert world.types(ben) == ["welcome"]
    assert world.relay(ana, signal("nobody", 3)) is None
    world.hear()
    assert world.types(ben) == ["welcome", "peer-joined", "signal", "signal"]
    assert [one["id"] for one in world.sent[ben][2:]] == [1, 2]
    assert world.types(ana) == ["welcome", "error"]
    assert (world.sent[ana][1]["id"], world.sent[ana][1]["payload"]["code"]) == (3, "peer-not-found")


def test_broadcasts_and_moderation_behind_a_join_wait_too() -> None:
    world = World()
    vic = world.user("vic")
    uma = world.ask_join(Kind.USER, "uma")
    world.broadcast(uma, message("hello", 1))
    world.moderate(uma, wire.Lock(room=ROOM, id=2), "lock")
    assert world.done == []
    world.hear()
    assert world.types(vic) == ["welcome", "user-joined", "message", "room-locked"]
    assert [one.get("id") for one in world.sent[uma]] == [None, 1, 2]
    assert outcome(world, "lock") is None


def test_messages_behind_a_refused_join_are_answered_with_not_in_room() -> None:
    world = World()
    world.peer("ana")
    rival = world.ask_join(Kind.PEER, "ana", reply="join")
    world.relay(rival, signal("ana", 7))
    world.moderate(rival, wire.Lock(room=ROOM), "lock")
    world.hear()
    (error,) = world.sent[rival]
    assert (error["room"], error["id"], error["payload"]["code"]) == (ROOM, 7, "not-in-room")
    assert isinstance(outcome(world, "lock"), NotInRoom)
    assert isinstance(outcome(world, "join"), PeerIdTaken)


def test_messages_beyond_the_bound_behind_a_join_are_unavailable() -> None:
    world = World(max_pending_messages=2)
    ana = world.ask_join(Kind.PEER, "ana")
    for _ in range(2):
        world.relay(ana, signal("ben"))
    with pytest.raises(Unavailable, match="2 of your messages"):
        world.relay(ana, signal("ben"))


def test_messages_sent_between_a_join_and_a_leave_are_handled() -> None:
    world = World()
    ben = world.peer("ben")
    ana = world.ask_join(Kind.PEER, "ana")
    world.relay(ana, signal("ben"))
    world.ask_leave(ana)
    world.hear()
    assert world.types(ben) == ["welcome", "peer-joined", "signal", "peer-left"]


STEPS = st.sampled_from(["peer", "peer", "user", "leave", "leave", "vanish", "hear", "update", "hear", "hear"])


class Replica:
    """The room's roster as a client derives it from its messages."""

    def __init__(self, world: World, incarnation: Incarnation) -> None:
        self.peers: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        for said in world.sent[incarnation]:
            if said["type"] == "welcome":
                welcome = world.welcomes[incarnation]
                self.peers = {str(peer.peer_id): peer.metadata for peer in welcome.peers}
                self.users = {str(user.user_id): user.metadata or {} for user in welcome.users}
            else:
                self._apply(said["type"], said["payload"])

    def _apply(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "peer-joined":
                assert payload["peer_id"] not in self.peers
                self.peers[payload["peer_id"]] = payload["metadata"]
            case "peer-left":
                del self.peers[payload["peer_id"]]
            case "user-joined":
                assert payload["user_id"] not in self.users
                self.users[payload["user_id"]] = payload["metadata"]
            case "user-left":
                del self.users[payload["user_id"]]
            case "updated" | "peer-updated" | "user-updated":
                roster = self.peers if "peer_id" in payload else self.users
                roster[payload.get("peer_id") or payload["user_id"]] = payload["metadata"]


@given(st.data())
def test_the_messages_of_each_member_add_up_to_the_roster_in_any_order(data: st.DataObject) -> None:
    world = World(capacity=4)
    asked: list[Incarnation] = []
    for step in data.draw(st.lists(STEPS, max_size=40)):
        match step:
            case "peer" | "user":
                name = data.draw(st.sampled_from(["a", "b", "c", "d", "e"]))
                asked.append(world.ask_join(Kind(step), name))
            case "leave" | "vanish" if asked:
                world.ask_leave(data.draw(st.sampled_from(asked)), request_id=2, replied=step == "leave")
            case "update" if world.room.roster.local:
                metadata: dict[str, Any] = {"a": data.draw(st.integers(0, 2))}
                update = wire.Update(room=ROOM, payload=wire.UpdatePayload(metadata))
                by = data.draw(st.sampled_from(list(world.room.roster.local)))
                if world.room.roster.local[by]:
                    world.moderate(by, update)
            case "hear" if world.events:
                world.hear_one()
        _check(world)
    world.hear()
    _check(world)
    for member in list(world.room.roster.members()):
        world.ask_leave(member.incarnation)
    world.hear()
    assert world.room.empty


def _check(world: World) -> None:
    roster = world.room.roster
    for member in roster.members():
        assert world.types(member.incarnation)[0] == "welcome"
        replica = Replica(world, member.incarnation)
        assert list(replica.peers.items()) == [(peer.id, peer.metadata) for peer in roster.peers()]
        if member.kind is Kind.USER:
            assert replica.users == {user: metadata for user, metadata, _ in roster.users()}
    orders = [peer.order for peer in roster.peers()]
    assert orders == sorted(set(orders))


def test_members_of_other_nodes_are_announced_and_not_welcomed() -> None:
    world = World()
    ana = world.peer("ana")
    world.clear()
    far = Member(Kind.PEER, PeerId("ben"), Incarnation("far.1"), THIRD, {}, 2)
    world.hear(MemberJoined(2, far, offset=b"1-0.0@n"))
    (said,) = world.sent[ana]
    assert (said["type"], said["at"]) == ("peer-joined", "1-0.0@n")
    world.hear(MemberLeft(3, far.incarnation, LeaveReason.NODE_LOST))
    assert not [one for one in world.effects if isinstance(one, Entered | Left)]
